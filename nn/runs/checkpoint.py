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

from nn.errors import UserError
from nn.runs.training_state import Snapshot
from nn.io.files import read_regular_file, atomic_write
from nn.types import Array

FORMAT_VERSION = 2
MAX_CHECKPOINT_BYTES = 2**33
"""Bytes that a checkpoint may have."""


class CorruptFileError(Exception):
    """A checkpoint that is not as it was written."""


def save(path: Path, snapshot: Snapshot, previous_path: Path | None = None) -> None:
    """Write a checkpoint, whole or not at all; the one before can be kept."""
    from safetensors.numpy import save as to_bytes

    metadata_json = json.dumps({"format": FORMAT_VERSION, **snapshot.metadata})
    header = {"metadata": metadata_json, "sha256": _compute_sha256(metadata_json, snapshot.arrays)}
    atomic_write(path, to_bytes(dict(snapshot.arrays), header), previous_path)


def load(path: Path) -> Snapshot:
    """Read a checkpoint, and refuse one that is damaged or of another format."""
    from safetensors.numpy import load as from_bytes

    content = read_regular_file(path.parent, path.name, MAX_CHECKPOINT_BYTES)
    try:
        arrays = from_bytes(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])["__metadata__"]
        metadata_json = header["metadata" if "metadata" in header else "facts"]  # in format 1
        is_intact = header["sha256"] == _compute_sha256(metadata_json, arrays)
        metadata = json.loads(metadata_json)
        version = metadata.pop("format")
    except Exception:  # what a damaged header does to a parser is not to be foreseen
        is_intact = False
    if not is_intact:
        raise CorruptFileError
    if version != FORMAT_VERSION:
        raise UserError(f"{path} is of format {version}, and this program reads format {FORMAT_VERSION}.")
    return Snapshot(arrays, metadata)


def _compute_sha256(metadata_json: str, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(metadata_json.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_best_or_last(run_dir: Path) -> Snapshot:
    """Read what a run kept: the best epoch if that was kept, else the last."""
    checkpoints_dir = run_dir / "checkpoints"
    for name in ("best", "last", "previous"):
        try:
            snapshot = load(checkpoints_dir / f"{name}.safetensors")
        except FileNotFoundError:
            continue
        except CorruptFileError:
            raise UserError(f"{checkpoints_dir / name}.safetensors is damaged.") from None
        config = snapshot.metadata.get("config")
        if name != "best" and isinstance(config, dict) and config.get("restore_best") is True:
            raise UserError(f"{checkpoints_dir / 'best'}.safetensors, which has the weights, is missing.")
        return snapshot
    raise UserError(f"{run_dir}: there is no checkpoint of a run in this folder.")


def extract_weights(snapshot: Snapshot) -> dict[str, Array]:
    """Give the weights of a network by the names that it has for them."""
    prefix = "weights/"
    return {
        key.removeprefix(prefix): array
        for key, array in snapshot.arrays.items()
        if key.startswith(prefix)
    }
