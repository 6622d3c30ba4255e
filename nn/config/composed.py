"""A configuration from overrides, as the command line composes it, without a command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir

from nn.components import locate
from nn.config.resolve import resolve
from nn.config.schema import CONF, register
from nn.config.sentences import sentence
from nn.errors import Mistake
from nn.knobs import KNOBS


def configuration(words: Iterable[str]) -> dict[str, Any]:
    """Compose and resolve; what is wrong is a `Mistake`."""
    register()
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            composed = compose("config", list(words), return_hydra_config=True)
        return resolve(composed, composed.hydra)
    except Mistake:
        raise
    except Exception as error:
        told = sentence(error)
        if told is None:
            raise
        raise Mistake(told) from None


def annotation(name: str, config: dict[str, Any]) -> Any:
    """Find the type of a setting by its dotted name, as far as it is known."""
    if name in KNOBS:
        return KNOBS[name].kind
    group, _, setting = name.partition(".")
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        return Any
    return get_type_hints(locate(group, node["_target_"]).__init__).get(setting, Any)
