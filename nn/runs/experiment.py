"""An experiment: all that a training needs, made from one configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from nn.config import knobs
from nn.config.instantiate import build
from nn.data.augmentation import Augmentation
from nn.batches import Batches
from nn.data.dataset import Dataset
from nn.data.input_spec import Inputs
from nn.data.source import Source
from nn.errors import Mistake, as_typed
from nn.early_stopping import KeptWeights
from nn.layers import BatchNorm, Layer
from nn.losses import Loss
from nn.models import Model
from nn.network import Network
from nn.optimizers import Optimizer
from nn.parameters import TooManyParameters
from nn.randomness import Randomness
from nn.schedules import Schedule
from nn.runs.training_state import fit_into
from nn.runs import checkpoint
from nn.tracking.settings import Tracking


@dataclass(frozen=True)
class Experiment:
    """What is trained, on what, and how."""

    dataset: Dataset
    batches: Batches
    network: Network
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    kept: KeptWeights
    randomness: Randomness
    tracking: Tracking


def prepare(config: Mapping[str, Any]) -> Experiment:
    """Make everything and write nothing: whatever is wrong with a configuration shows here."""
    knobs.check(config)
    model = build("model", config, Model)
    loss = build("loss", config, Loss)
    optimizer = build("optimizer", config, Optimizer)
    schedule = build("schedule", config, Schedule)
    augmentation = build("augmentation", config, Augmentation)
    tracking = build("tracking", config, Tracking)
    tracking.check()
    _check_validation(config, schedule)

    dataset = _load(json.dumps(config["dataset"]), config["seed"])
    augmentation.check(dataset.shape)
    randomness = Randomness.from_seed(config["seed"])
    network = network_of(model, dataset.inputs, randomness, config)
    if config["init_from"] is not None:
        _begin_from(Path(config["init_from"]), network)
    loss.start(len(dataset.class_names), network.parameters.values.dtype)
    optimizer.start(network.parameters.values)
    augment = partial(
        augmentation.apply,
        background=dataset.train.scale.offset,
        rng=randomness.augmentation,
    )
    batches = Batches(
        dataset.train,
        len(dataset.train) if config["batch_size"] == "all" else config["batch_size"],
        randomness.shuffle,
        augment if augmentation.active else None,
        config["draws"],
    )
    kept = KeptWeights(network, config["keep"] == "best", config["patience"])
    return Experiment(
        dataset, batches, network, loss, optimizer, schedule, kept, randomness, tracking
    )


@lru_cache(maxsize=1)
def _load(settings: str, seed: int) -> Dataset:
    """Load a dataset once for all the runs of a process that share it."""
    source = build("dataset", {"dataset": json.loads(settings)}, Source)
    return source.load(Randomness.from_seed(seed).split)


def _begin_from(run: Path, network: Network) -> None:
    """Take the weights that another run kept."""
    try:
        fit_into(checkpoint.weights(checkpoint.kept(run)), network.arrays)
    except Mistake as mistake:
        raise Mistake(f"init_from={run}: {mistake}") from None


def _check_validation(config: Mapping[str, Any], schedule: Schedule) -> None:
    """Refuse what needs a validation set where there is none."""
    if config["dataset"].get("validation") != 0:
        return
    for setting, asked in (
        (f"patience={config['patience']}", config["patience"] is not None),
        ("keep=best", config["keep"] == "best"),
        (f"schedule={config['choices']['schedule']}", schedule.needs_validation),
    ):
        if asked:
            raise Mistake(
                f"{setting} needs a validation set, and dataset.validation=0 leaves none."
            )


def network_of(
    model: Model, inputs: Inputs, randomness: Randomness, config: Mapping[str, Any]
) -> Network:
    """Build the network, and refuse one that cannot be trained on such inputs."""
    classes = len(inputs.class_names)
    layers = model.layers(classes, randomness)
    if not isinstance(layers, list) or not all(isinstance(layer, Layer) for layer in layers):
        raise Mistake(f"model: its layers must be a list of layers, not {as_typed(layers)}.")
    try:
        network = Network(layers, inputs.shape, randomness.init)
    except (TooManyParameters, MemoryError) as error:
        sizes = [f"{key}={config[key]}" for key in ("width", "depth") if config[key] is not None]
        named = " ".join(sizes) or "model"
        raise Mistake(f"{named}: {str(error) or 'more than this machine can hold'}") from None
    if network.output_shape != (classes,):
        raise Mistake(
            f"model: its last layer, {network.chain.names[-1]}, gives outputs of shape "
            f"{network.output_shape}, and {classes} classes need {(classes,)}."
        )
    if config["batch_size"] == 1 and any(isinstance(layer, BatchNorm) for layer in layers):
        raise Mistake("batch_size=1: batch normalization needs several samples at once.")
    return network
