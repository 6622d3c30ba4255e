"""Checkpoints: the state of a training as a file, which is data and never code.

A file of safetensors, with all that is no array as one JSON text in its header. What is read back
is what was written: a SHA-256 covers every byte of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nn.errors import Mistake
from nn.runs.training_state import Moment
from nn.io.files import read_plain, write_whole
from nn.types import Array

FORMAT = 1
MOST = 2**33
"""Bytes that a checkpoint may have."""


class Damaged(Exception):
    """A checkpoint that is not as it was written."""


def save(path: Path, moment: Moment, previous: Path | None = None) -> None:
    """Write a checkpoint, whole or not at all; the one before can be kept."""
    from safetensors.numpy import save as to_bytes

    facts = json.dumps({"format": FORMAT, **moment.facts})
    header = {"facts": facts, "sha256": _digest(facts, moment.arrays)}
    write_whole(path, to_bytes(dict(moment.arrays), header), previous)


def load(path: Path) -> Moment:
    """Read a checkpoint, and refuse one that is damaged or of another format."""
    from safetensors.numpy import load as from_bytes

    content = read_plain(path.parent, path.name, MOST)
    try:
        arrays = from_bytes(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])["__metadata__"]
        intact = header["sha256"] == _digest(header["facts"], arrays)
        facts = json.loads(header["facts"])
        given = facts.pop("format")
    except Exception:  # what a damaged header does to a parser is not to be foreseen
        intact = False
    if not intact:
        raise Damaged
    if given != FORMAT:
        raise Mistake(f"{path} is of format {given}, and this program reads format {FORMAT}.")
    return Moment(arrays, facts)


def _digest(facts: str, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def kept(run: Path) -> Moment:
    """Read what a run kept: the best epoch if that was kept, else the last."""
    folder = run / "checkpoints"
    for name in ("best", "last", "previous"):
        try:
            moment = load(folder / f"{name}.safetensors")
        except FileNotFoundError:
            continue
        except Damaged:
            raise Mistake(f"{folder / name}.safetensors is damaged.") from None
        config = moment.facts.get("config")
        if name != "best" and isinstance(config, dict) and config.get("keep") == "best":
            raise Mistake(f"{folder / 'best'}.safetensors, which has the weights, is missing.")
        return moment
    raise Mistake(f"{run}: there is no checkpoint of a run in this folder.")


def weights(moment: Moment) -> dict[str, Array]:
    """Give the weights of a network by the names that it has for them."""
    prefix = "weights/"
    return {
        key.removeprefix(prefix): array
        for key, array in moment.arrays.items()
        if key.startswith(prefix)
    }
