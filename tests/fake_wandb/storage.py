"""Storage of uploaded files."""

from __future__ import annotations

import base64
import hashlib

from tests.fake_wandb.graphql_executor import ApiError, UnsupportedError
from tests.fake_wandb.state import ServerState


def store_file(state: ServerState, path: str, content: bytes) -> None:
    """Store an upload to /storage/KIND/ID/NAME."""
    kind, name, files = _locate(state, path)
    if kind == "manifests":
        state.get_version(name).manifest = content
    else:
        files[name] = content


def fetch_file(state: ServerState, path: str) -> bytes:
    """Return an uploaded file."""
    kind, name, files = _locate(state, path)
    if kind == "manifests":
        return state.get_version(name).manifest
    if name not in files:
        raise ApiError(404, f"{path} not found")
    return files[name]


def _locate(state: ServerState, path: str) -> tuple[str, str, dict[str, bytes]]:
    parts = path.split("/", 4)
    if len(parts) != 5 or parts[1] != "storage":
        raise UnsupportedError(path)
    _, _, kind, owner, name = parts
    if kind == "runs":
        return kind, name, state.runs[owner].files
    if kind == "artifacts":
        return kind, name, state.get_version(owner).files
    return kind, owner, {}


def base64_md5(content: bytes) -> str:
    """Return the MD5 digest in base64, as W&B stores it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()
