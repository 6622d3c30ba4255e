"""The names that settings have, and those that people try."""

from __future__ import annotations

from functools import cache

from omegaconf import OmegaConf

from nn.config.instantiate import nearest
from nn.config.knobs import KNOBS
from nn.config.schema import CONF, GROUPS

SYNONYMS = {
    "lr": "learning_rate learningrate alpha eta step_size rate base_lr lr_rate",
    "batch_size": "batch bs batchsize minibatch mini_batch minibatch_size mini_batch_size",
    "depth": "layers n_layers num_layers hidden_layers n_hidden num_hidden_layers",
    "width": "units n_units hidden_size hidden_units hidden_dim neurons num_units",
    "epochs": "epoch n_epochs num_epochs max_epochs iterations max_iter",
    "seed": "random_seed random_state rng manual_seed",
    "threads": "num_threads n_threads n_jobs blas_threads",
    "weight_decay": "l2 wd decay l2_reg reg regularization lambda weightdecay",
    "dropout": "dropout_rate drop dropout_p",
    "augmentation": "augment aug augmentations transforms transform",
    "dataset": "data datasets data_set",
    "model": "net network arch architecture",
    "optimizer": "opt optim optimiser solver",
    "schedule": "scheduler lr_schedule lr_scheduler",
    "loss": "criterion objective cost loss_fn",
    "tracking": "wandb logger logging tracker log",
    "experiment": "preset exp",
}
_MEANT = {synonym: name for name, synonyms in SYNONYMS.items() for synonym in synonyms.split()}


def meant(name: str) -> str:
    """Give the name of ours for one from elsewhere."""
    plain = name.replace("-", "_").lower()
    return plain if plain in (*KNOBS, *GROUPS) else _MEANT.get(plain, name)


def unknown(name: str, value: str) -> str:
    """Say that there is no such setting here, and which one was probably meant."""
    if name in GROUPS:
        return (
            f"{name}={value}: choose one option by its name; there is {', '.join(options(name))}."
        )
    known = _known()
    said = f"{name}={value}: there is no setting {name}"
    group, _, leaf = name.rpartition(".")
    if name in known:
        return f"{said} with the chosen option of {group}; leave it out."
    related = [other for other in known if other.startswith(f"{group}.")] if group else known
    ours = meant(leaf)
    near = ours if ours in (*KNOBS, *GROUPS) else nearest(name, related)
    return f"{said}; did you mean {near}?" if near else f"{said}; --help shows what there is."


def options(group: str) -> list[str]:
    """List the options of a group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def _known() -> list[str]:
    names = [*KNOBS, *GROUPS, "hydra.run.dir", "hydra.sweep.dir"]
    for group in GROUPS[:-1]:
        for option in options(group):
            settings = OmegaConf.load(CONF / group / f"{option}.yaml")
            own = OmegaConf.select(settings, group) or settings
            names += [f"{group}.{key!s}" for key in own if key not in ("defaults", "_target_")]
    return names
