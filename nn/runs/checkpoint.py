"""Checkpoints: snapshots as safetensors files, which hold data and never code.

The metadata is one JSON text in the file's header. A SHA-256 covers every array and the metadata,
so that a damaged file is recognized.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nn.errors import UserError
from nn.io.files import atomic_write, read_regular_file
from nn.io.paths import checkpoint_path
from nn.runs.training_state import Snapshot
from nn.types import Array

FORMAT_VERSION = 2
MAX_CHECKPOINT_BYTES = 2**33
"""Larger files are not read."""


class CorruptFileError(Exception):
    """The content of a checkpoint does not match its SHA-256, or cannot be parsed."""


def save(path: Path, snapshot: Snapshot, previous_path: Path | None = None) -> None:
    """Write a checkpoint atomically, moving an existing one to `previous_path` if that is given."""
    from safetensors.numpy import save as to_bytes

    metadata_json = json.dumps({"format": FORMAT_VERSION, **snapshot.metadata})
    header = {"metadata": metadata_json, "sha256": _compute_sha256(metadata_json, snapshot.arrays)}
    atomic_write(path, to_bytes(dict(snapshot.arrays), header), previous_path)


def load(path: Path) -> Snapshot:
    """Read a checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        CorruptFileError: The file is damaged.
        UserError: The file has another format version, or cannot be read.
    """
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
    except Exception:  # a damaged header can make the parsers raise anything
        is_intact = False
    if not is_intact:
        raise CorruptFileError
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, but this program reads version {FORMAT_VERSION}."
        )
    return Snapshot(arrays, metadata)


def _compute_sha256(metadata_json: str, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(metadata_json.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_best_or_last(run_dir: Path) -> Snapshot:
    """Read the checkpoint that holds the selected weights: best if there is one, else the last."""
    best_path = checkpoint_path(run_dir, "best")
    for path in (best_path, *(checkpoint_path(run_dir, name) for name in ("last", "previous"))):
        try:
            snapshot = load(path)
        except FileNotFoundError:
            continue
        except CorruptFileError:
            raise UserError(f"{path} is damaged.") from None
        config = snapshot.metadata.get("config")
        if path != best_path and isinstance(config, dict) and config.get("restore_best") is True:
            raise UserError(f"{best_path}, which holds the best weights, is missing.")
        return snapshot
    raise UserError(f"{run_dir}: there is no checkpoint in this directory.")


def extract_weights(snapshot: Snapshot) -> dict[str, Array]:
    """Return the weights by the names of `Network.named_arrays`."""
    prefix = "weights/"
    return {
        key.removeprefix(prefix): array
        for key, array in snapshot.arrays.items()
        if key.startswith(prefix)
    }
