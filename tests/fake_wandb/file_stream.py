"""The file_stream endpoint, which receives a run's history, summary and output line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.fake_wandb.graphql_executor import ApiError, UnsupportedError
from tests.fake_wandb.runs import Run, utc_now
from tests.fake_wandb.state import ServerState

LINE_FILES = ("wandb-history.jsonl", "wandb-events.jsonl", "output.log")


def receive_file_stream(
    state: ServerState, run_id: str, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """Store what a run sends, and answer whether it should stop."""
    run = state.runs.get(run_id)
    if run is None:
        raise ApiError(404, f"run {run_id} not found")
    unsupported_keys = set(payload) - {
        "files",
        "complete",
        "exitcode",
        "uploaded",
        "dropped",
        "preempting",
    }
    if unsupported_keys:
        raise UnsupportedError(f"file_stream: {', '.join(sorted(unsupported_keys))}")
    for name, chunk in (payload.get("files") or {}).items():
        _write_lines(run, name, chunk)
    run.heartbeat_at = utc_now()
    if payload.get("preempting"):
        run.is_preempting = True
    if payload.get("complete"):
        run.exit_code = payload.get("exitcode") or 0
        state.requeue_if_preempted(run)
    return {"exitcode": None, "limits": {}, "stopped": run.should_stop_by_stream}


def _write_lines(run: Run, name: str, chunk: Mapping[str, Any]) -> None:
    """Write lines at their offset, overwriting those of an earlier attempt."""
    offset, content = chunk.get("offset", 0), chunk["content"]
    if name == "wandb-summary.json":
        run.summary = json.loads(content[-1])
        return
    if name not in LINE_FILES:
        raise UnsupportedError(f"file_stream: file {name}")
    lines = run.stream_lines.setdefault(name, [])
    if offset > len(lines):
        raise UnsupportedError(
            f"file_stream: {name} goes on at {offset}, but has {len(lines)} lines"
        )
    lines[offset : offset + len(content)] = content
