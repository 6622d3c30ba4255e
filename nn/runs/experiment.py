"""Build everything that training needs from one configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from nn.batches import Batches
from nn.config.instantiate import instantiate
from nn.config.schema import Config
from nn.data.augmentation import Augmentation
from nn.data.input_spec import InputSpec
from nn.data.source import Dataset, DataSource
from nn.data_parallel import auto_shards
from nn.early_stopping import WeightSelector
from nn.errors import UserError, format_value
from nn.layers import BatchNorm, Layer
from nn.losses import Loss
from nn.models import Model
from nn.network import Network
from nn.optimizers import Optimizer
from nn.parameters import TooManyParametersError
from nn.randomness import RandomGenerators
from nn.runs import checkpoint
from nn.runs.reader import require_run_format
from nn.runs.training_state import copy_arrays
from nn.schedules import Schedule
from nn.tracking.settings import Tracking


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The objects that take part in training."""

    dataset: Dataset
    batches: Batches
    num_shards: int
    network: Network
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    weight_selector: WeightSelector
    rngs: RandomGenerators
    tracking: Tracking


_prepared_ahead: list[tuple[Config, Experiment]] = []


def prepare_ahead(config: Config) -> Experiment:
    """Build the experiment that the next `prepare` of the same configuration returns."""
    _prepared_ahead[:] = [(config, _build_experiment(config))]
    return _prepared_ahead[0][1]


def prepare(config: Config) -> Experiment:
    """Build an experiment without writing anything, unless `prepare_ahead` has done so.

    Raises:
        UserError: The configuration is invalid; every check is made here.
    """
    # taken out, since training changes it
    if _prepared_ahead and (prepared := _prepared_ahead.pop())[0] == config:
        return prepared[1]
    return _build_experiment(config)


def _build_experiment(config: Config) -> Experiment:
    model = instantiate("model", config.model, Model)
    loss = instantiate("loss", config.loss, Loss)
    optimizer = instantiate("optimizer", config.optimizer, Optimizer)
    schedule = instantiate("schedule", config.schedule, Schedule)
    augmentation = instantiate("augmentation", config.augmentation, Augmentation)
    tracking = instantiate("tracking", config.tracking, Tracking)
    tracking.check()
    _require_validation_set(config, schedule)

    split_seed = config.seed if config.split_seed is None else config.split_seed
    dataset = _load_dataset(json.dumps(config.dataset), split_seed)
    augmentation.check_shape(dataset.shape)
    rngs = RandomGenerators.from_seed(config.seed)
    network = build_network(model, dataset.input_spec, rngs, config)
    if config.init_from is not None:
        _load_initial_weights(Path(config.init_from), network)
    loss.build(len(dataset.class_names), network.parameters.values.dtype)
    optimizer.init_state(network.parameters.values)
    augment = partial(
        augmentation.apply,
        background=dataset.train.rescaling.offset,
        rng=rngs.augmentation,
    )
    batches = Batches(
        dataset.train,
        len(dataset.train) if config.batch_size == "all" else config.batch_size,
        rngs.shuffle,
        augment if augmentation.is_active else None,
        config.samples_per_epoch,
    )
    num_shards = _count_shards(config, network, batches.batch_size)
    weight_selector = WeightSelector(network, config.restore_best, config.patience)
    return Experiment(
        dataset=dataset,
        batches=batches,
        num_shards=num_shards,
        network=network,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        weight_selector=weight_selector,
        rngs=rngs,
        tracking=tracking,
    )


def _count_shards(config: Config, network: Network, batch_size: int) -> int:
    """Return the number of parts of a batch, of which none may be empty."""
    if config.shards == "auto":
        return auto_shards(network.sequential, batch_size)
    if config.shards > batch_size:
        raise UserError(
            f"shards={config.shards}: a batch has only {batch_size} samples; "
            f"shards must be at most {batch_size}."
        )
    return config.shards


@lru_cache(maxsize=1)
def _load_dataset(settings_json: str, split_seed: int) -> Dataset:
    """Load a dataset, once for consecutive runs of this process that share it."""
    source = instantiate("dataset", json.loads(settings_json), DataSource)
    return source.load(RandomGenerators.from_seed(split_seed).split)


def _load_initial_weights(run_dir: Path, network: Network) -> None:
    """Copy the selected weights of another run into the network."""
    try:
        if (run_dir / "config.yaml").exists():
            require_run_format(run_dir)
        copy_arrays(
            checkpoint.extract_weights(checkpoint.load_best_or_last(run_dir)), network.named_arrays
        )
    except UserError as error:
        raise UserError(f"init_from={run_dir}: {error}") from None


def _require_validation_set(config: Config, schedule: Schedule) -> None:
    """Refuse settings that need a validation set if there is none."""
    if config.dataset.get("validation") != 0:
        return
    for setting, needs_validation_set in (
        (f"patience={config.patience}", config.patience is not None),
        ("restore_best=true", config.restore_best),
        (f"schedule={config.choices['schedule']}", schedule.needs_validation),
    ):
        if needs_validation_set:
            raise UserError(
                f"{setting} needs a validation set, but dataset.validation=0 leaves none."
            )


def build_network(
    model: Model, input_spec: InputSpec, rngs: RandomGenerators, config: Config
) -> Network:
    """Build the network for given inputs.

    Raises:
        UserError: The model does not fit the inputs, the classes, the batch size or the memory.
    """
    num_classes = len(input_spec.class_names)
    layers = model.build_layers(num_classes, rngs)
    if not isinstance(layers, list) or not all(isinstance(layer, Layer) for layer in layers):
        raise UserError(
            f"model: build_layers must return a list of layers, not {format_value(layers)}."
        )
    try:
        network = Network(layers, input_spec.shape, rngs.init)
    except (TooManyParametersError, MemoryError) as error:
        sizes = [
            f"{name}={size}"
            for name, size in (("width", config.width), ("depth", config.depth))
            if size is not None
        ]
        setting = " ".join(sizes) or "model"
        raise UserError(
            f"{setting}: {str(error) or 'the network does not fit into memory'}"
        ) from None
    if network.output_shape != (num_classes,):
        raise UserError(
            f"model: its last layer, {network.sequential.layer_names[-1]}, has outputs of shape "
            f"{network.output_shape}, but {num_classes} classes need {(num_classes,)}."
        )
    if config.batch_size == 1 and any(isinstance(layer, BatchNorm) for layer in layers):
        raise UserError("batch_size=1: batch normalization needs more than one sample per batch.")
    return network
