"""Storage of uploaded files."""

from __future__ import annotations

import base64
import hashlib

from tests.loopback.answers import Refused, Unknown
from tests.loopback.state import State


def store(state: State, path: str, content: bytes) -> None:
    """Store an upload to /storage/KIND/ID/NAME."""
    kind, name, files = _place(state, path)
    if kind == "manifests":
        state.version(name).manifest = content
    else:
        files[name] = content


def fetch(state: State, path: str) -> bytes:
    """Return an uploaded file."""
    kind, name, files = _place(state, path)
    if kind == "manifests":
        return state.version(name).manifest
    if name not in files:
        raise Refused(404, f"{path} not found")
    return files[name]


def _place(state: State, path: str) -> tuple[str, str, dict[str, bytes]]:
    parts = path.split("/", 4)
    if len(parts) != 5 or parts[1] != "storage":
        raise Unknown(path)
    _, _, kind, owner, name = parts
    if kind == "runs":
        return kind, name, state.runs[owner].files
    if kind == "artifacts":
        return kind, name, state.version(owner).files
    return kind, owner, {}


def md5(content: bytes) -> str:
    """Return the MD5 digest in base64, as W&B stores it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()
