"""The trained network of a run, ready for prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nn.batches import Samples
from nn.config.instantiate import instantiate
from nn.data.input_spec import InputSpec
from nn.errors import UserError
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.losses import Loss
from nn.models import Model
from nn.network import Network
from nn.predict.array_files import DEFAULT_CSV_OPTIONS, CsvOptions
from nn.randomness import RandomGenerators
from nn.runs import checkpoint
from nn.runs.experiment import build_network
from nn.runs.reader import read_json
from nn.runs.training_state import Snapshot, copy_arrays
from nn.runs.trusted_config import read_trusted_config
from nn.training import predict
from nn.types import Array


@dataclass(frozen=True)
class Predictor:
    """A network with the best or last weights of its run, and its input specification."""

    input_spec: InputSpec
    network: Network
    loss: Loss
    csv_options: CsvOptions
    unfinished_notice: str | None

    @classmethod
    def from_run(cls, run: Path, trust: str = "") -> Self:
        """Load the network from a run directory, which is treated as untrusted data."""
        config = read_trusted_config(run, trust, "--trust ")
        snapshot = checkpoint.load_best_or_last(run)
        try:
            inputs = InputSpec.from_dict(snapshot.metadata.get("input_spec"))
        except ValueError:
            raise UserError(
                f"{relpath(run)}: the checkpoint is from an earlier version and does not describe "
                "the inputs of its network; "
                f"{format_command('train', f'reproduce={relpath(run)}')} writes one that does."
            ) from None
        model = instantiate("model", config.model, Model)
        loss = instantiate("loss", config.loss, Loss)
        network = build_network(model, inputs, RandomGenerators.from_seed(config.seed), config)
        try:
            copy_arrays(checkpoint.extract_weights(snapshot), network.named_arrays)
        except UserError as error:
            raise UserError(f"{relpath(run)}: config.yaml and checkpoint differ: {error}") from None
        loss.build(len(inputs.class_names), network.parameters.values.dtype)
        csv_settings = {key: config.dataset.get(key, "auto") for key in vars(DEFAULT_CSV_OPTIONS)}
        return cls(
            inputs,
            network,
            loss,
            CsvOptions(**csv_settings),
            _unfinished_notice(run, snapshot),
        )

    def predict_proba(self, samples: NDArray[np.number]) -> Array:
        """Return the class probabilities, samples x classes, bit for bit as in training."""
        batch = Samples(samples, np.zeros(len(samples), np.int64), self.input_spec.rescaling)
        with threadpool_limits(1, "blas"):
            return self.loss.probabilities(predict(self.network, batch))


def _unfinished_notice(run: Path, snapshot: Snapshot) -> str | None:
    """Return a note on the epoch of the weights if the run is not finished, else None."""
    if read_json(run, "summary.json").get("status") == "finished":
        return None
    epoch = snapshot.metadata["epoch"]
    return f"{relpath(run)} is not finished: these are its weights after epoch {epoch}"
