"""The network of a run, ready to say what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from nn.batches import Samples
from nn.config import knobs
from nn.config.instantiate import build
from nn.data.input_spec import Inputs
from nn.errors import Mistake
from nn.io.paths import short
from nn.losses import Loss
from nn.models import Model
from nn.network import Network
from nn.predict.array_files import USUAL, Columns
from nn.randomness import Randomness
from nn.runs import checkpoint
from nn.runs.experiment import network_of
from nn.runs.reader import read_json
from nn.runs.resume import trusted_config
from nn.runs.training_state import Moment, fit_into
from nn.training import predict
from nn.types import Array


@dataclass(frozen=True)
class Trained:
    """The kept weights in their network, and what it takes."""

    inputs: Inputs
    network: Network
    loss: Loss
    threads: int
    columns: Columns
    note: str | None

    @classmethod
    def read(cls, run: Path, trust: str = "") -> Self:
        """Read a run's folder, which may come from anyone."""
        config = trusted_config(run, trust, "--trust ")
        knobs.check(config)
        kept = checkpoint.kept(run)
        try:
            inputs = Inputs.read(kept.facts.get("inputs"))
        except ValueError:
            raise Mistake(
                f"{short(run)}: the checkpoint is of an earlier version and does not say what its "
                f"network takes; python scripts/train.py repeat={short(run)} makes one that does."
            ) from None
        model, loss = build("model", config, Model), build("loss", config, Loss)
        network = network_of(model, inputs, Randomness.from_seed(config["seed"]), config)
        try:
            fit_into(checkpoint.weights(kept), network.arrays)
        except Mistake as mistake:
            raise Mistake(f"{short(run)}: config.yaml and checkpoint differ: {mistake}") from None
        loss.start(len(inputs.class_names), network.parameters.values.dtype)
        columns = {key: config["dataset"].get(key, "auto") for key in vars(USUAL)}
        return cls(inputs, network, loss, config["threads"], Columns(**columns), _note(run, kept))

    def probabilities(self, images: Array) -> Array:
        """Say for each image how probable each class is, to the bits that training would."""
        samples = Samples(images, np.zeros(len(images), np.int64), self.inputs.scale)
        with threadpool_limits(self.threads, "blas"):
            return self.loss.probabilities(predict(self.network, samples))


def _note(run: Path, kept: Moment) -> str | None:
    """Say of a run that is not finished how far it has come."""
    if read_json(run, "summary.json").get("status") == "finished":
        return None
    return f"{short(run)} is not finished: these are its weights after epoch {kept.facts['epoch']}"
