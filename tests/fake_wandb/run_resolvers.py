"""Resolvers for runs in W&B's GraphQL API."""

from __future__ import annotations

import json
import mimetypes
from typing import Any
from urllib.parse import quote

from tests.fake_wandb import account_resolvers, artifact_resolvers
from tests.fake_wandb.graphql_executor import ApiError, Args, Node, UnsupportedError, connection
from tests.fake_wandb.runs import Run
from tests.fake_wandb.state import ServerState
from tests.fake_wandb.storage import base64_md5

HISTORY_FILE, EVENTS_FILE = "wandb-history.jsonl", "wandb-events.jsonl"


def run_node(state: ServerState, run: Run) -> Node:
    lines = run.stream_lines
    history, events = lines.get(HISTORY_FILE, []), lines.get(EVENTS_FILE, [])
    return {
        "__typename": "Run",
        "id": run.storage_id,
        "name": run.id,
        "displayName": run.display_name,
        "projectId": account_resolvers.project_internal_id(state, run.project),
        "project": lambda _: account_resolvers.project_node(state, run.project),
        "user": lambda _: account_resolvers.user_node(state),
        "state": run.state,
        "config": json.dumps(run.raw_config),
        "wandbConfig": lambda args: wandb_config_json(run, args["keys"]),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": json.dumps(json.loads(events[-1]) if events else {}),
        "tags": run.tags,
        "group": run.group,
        "jobType": run.job_type,
        "notes": run.notes,
        "description": run.notes,
        "commit": run.commit,
        "readOnly": False,
        "createdAt": run.created_at,
        "heartbeatAt": run.heartbeat_at,
        "sweepName": run.sweep,
        "exitcode": run.exit_code,
        "shouldStop": run.should_stop_by_stream,
        "stopped": run.should_stop_by_stream,
        "failed": run.state in ("failed", "crashed"),
        "running": run.state == "running",
        "historyLineCount": len(history),
        "eventsLineCount": len(events),
        "logLineCount": len(run.output),
        "historyTail": json.dumps(history[-1:]),
        "eventsTail": json.dumps(events[-1:]),
        "historyKeys": history_keys(run),
        "history": lambda args: rows_in_step_range(run, args, history),
        "events": lambda args: events[: args.get("samples") or None],
        "sampledHistory": lambda args: [
            sampled_history(run, spec) for spec in as_list(args["specs"])
        ],
        "parquetHistory": lambda args: {
            "__typename": "ParquetHistory",
            "parquetUrls": [],
            "liveData": run.history,
        },
        "fileCount": len(run.files),
        "files": lambda args: connection(
            sorted(requested_files(run, args)), lambda name: file_node(state, run, name), "File"
        )(args),
        "outputArtifacts": lambda args: artifact_resolvers.version_connection(
            state, [state.get_version(each) for each in run.logged_artifacts], args
        ),
        "inputArtifacts": lambda args: artifact_resolvers.version_connection(
            state, [state.get_version(each) for each in run.used_artifacts], args
        ),
    }


def wandb_config_json(run: Run, keys: list[str]) -> str:
    """The `_wandb` section of a run's config; `t` exists as soon as the run has started."""
    config = run.raw_config.get("_wandb", {}).get("value", {})
    return json.dumps({key: config[key] for key in keys if key in config})


def history_keys(run: Run) -> dict[str, Any] | None:
    rows = run.history
    if not rows:
        return None
    keys = {key for row in rows for key in row}
    return {
        "lastStep": rows[-1]["_step"],
        "sets": [],
        "keys": {key: {"typeCounts": [{"type": "number", "count": 1}]} for key in sorted(keys)},
    }


def rows_in_step_range(run: Run, args: Args, history: list[str]) -> list[str]:
    """Return the rows within a range of steps."""
    low, high = args.get("minStep") or 0, args.get("maxStep")
    rows = zip(run.history, history, strict=True)
    found_rows = [
        line for row, line in rows if low <= row["_step"] and (not high or row["_step"] < high)
    ]
    return found_rows[: args.get("samples") or None]


def as_list(value: str | list[str]) -> list[str]:
    """Coerce a single value to a list, as GraphQL does."""
    return [value] if isinstance(value, str) else value


def sampled_history(run: Run, spec: str) -> list[dict[str, Any]]:
    """Return all rows that have all of the keys, where W&B would return a sample."""
    keys = json.loads(spec).get("keys")
    if keys is None:
        return run.history
    rows = (row for row in run.history if all(key in row for key in keys))
    return [{key: row[key] for key in keys} for row in rows]


def requested_files(run: Run, args: Args) -> list[str]:
    if args.get("pattern"):
        raise UnsupportedError("files by a pattern")
    return [name for name in run.files if not args.get("names") or name in args["names"]]


def file_node(state: ServerState, run: Run, name: str) -> Node:
    content = run.files[name]
    url = f"{state.url}/storage/runs/{run.id}/{quote(name)}"
    return {
        "__typename": "File",
        "id": f"file-{run.id}-{name}",
        "name": name,
        "url": url,
        "directUrl": url,
        "sizeBytes": len(content),
        "mimetype": mimetypes.guess_type(name)[0],
        "updatedAt": run.heartbeat_at,
        "md5": base64_md5(content),
    }


def upsert_payload(state: ServerState, run: Run, is_new: bool) -> Node:
    # The client starts writing at this historyLineCount, which counts what a fork inherits. The
    # lines of a resumed run come from RunResumeStatus; a restarted run overwrites the old one.
    bucket = {**run_node(state, run), "historyLineCount": 0}
    return {"__typename": "Payload", "bucket": bucket, "inserted": is_new}


def upsert_run(state: ServerState, args: Args) -> Node:
    """UpsertBucket: create or update a run."""
    if args.get("id"):
        run = next((run for run in state.runs.values() if run.storage_id == args["id"]), None)
        if run is None:
            raise ApiError(404, f"run {args['id']} not found")
        run.update(args)
        return upsert_payload(state, run, is_new=False)
    name = args.get("name") or state.new_id()
    project, entity = (
        state.get_or_create_project(args.get("modelName")),
        state.check_entity(args.get("entityName")),
    )
    run, is_new = state.runs.get(name), name not in state.runs
    if run is None:
        run = state.runs[name] = Run(name, entity, project, display_name=name)
    elif run.project != project:
        raise UnsupportedError(f"run {name} in two projects: {run.project} and {project}")
    if run.exit_code is not None or run.is_crashed:
        run.restart()
    run.update(args)
    return upsert_payload(state, run, is_new)


def create_run_files(state: ServerState, args: Args) -> Node:
    """CreateRunFiles: return the upload URLs."""
    run = state.find_run(args["projectName"], args["runName"])
    if run is None:
        raise ApiError(404, f"run {args['runName']} not found")
    files = [
        {
            "__typename": "File",
            "name": name,
            "uploadUrl": f"{state.url}/storage/runs/{run.id}/{quote(name)}",
        }
        for name in args["files"]
    ]
    return {"__typename": "Payload", "runID": run.storage_id, "uploadHeaders": [], "files": files}
