"""Resolvers for runs in W&B's GraphQL API."""

from __future__ import annotations

import json
import mimetypes
from typing import Any
from urllib.parse import quote

from tests.loopback import artifact_answers, owners
from tests.loopback.answers import Given, Node, Refused, Unknown, connection
from tests.loopback.runs import Run
from tests.loopback.state import State
from tests.loopback.storage import md5

HISTORY, EVENTS = "wandb-history.jsonl", "wandb-events.jsonl"


def node(state: State, run: Run) -> Node:
    lines = run.lines
    history, events = lines.get(HISTORY, []), lines.get(EVENTS, [])
    return {
        "__typename": "Run",
        "id": run.storage_id,
        "name": run.id,
        "displayName": run.display_name,
        "projectId": owners.project_number(state, run.project),
        "project": lambda _: owners.project_node(state, run.project),
        "user": lambda _: owners.user(state),
        "state": run.state,
        "config": json.dumps(run.raw_config),
        "wandbConfig": lambda given: wandb_config(run, given["keys"]),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": json.dumps(json.loads(events[-1]) if events else {}),
        "tags": run.tags,
        "group": run.group,
        "jobType": run.job_type,
        "notes": run.notes,
        "description": run.notes,
        "commit": run.commit,
        "readOnly": False,
        "createdAt": run.created,
        "heartbeatAt": run.heard,
        "sweepName": run.sweep,
        "exitcode": run.exit_code,
        "shouldStop": run.stop_by_stream,
        "stopped": run.stop_by_stream,
        "failed": run.state in ("failed", "crashed"),
        "running": run.state == "running",
        "historyLineCount": len(history),
        "eventsLineCount": len(events),
        "logLineCount": len(run.output),
        "historyTail": json.dumps(history[-1:]),
        "eventsTail": json.dumps(events[-1:]),
        "historyKeys": history_keys(run),
        "history": lambda given: between(run, given, history),
        "events": lambda given: events[: given.get("samples") or None],
        "sampledHistory": lambda given: [sampled(run, spec) for spec in listed(given["specs"])],
        "parquetHistory": lambda given: {
            "__typename": "ParquetHistory",
            "parquetUrls": [],
            "liveData": run.history,
        },
        "fileCount": len(run.files),
        "files": lambda given: connection(
            sorted(asked(run, given)), lambda name: file_node(state, run, name), "File"
        )(given),
        "outputArtifacts": lambda given: artifact_answers.versions(
            state, [state.version(each) for each in run.logged], given
        ),
        "inputArtifacts": lambda given: artifact_answers.versions(
            state, [state.version(each) for each in run.used], given
        ),
    }


def wandb_config(run: Run, keys: list[str]) -> str:
    """The `_wandb` section of a run's config; `t` exists as soon as the run has started."""
    known = run.raw_config.get("_wandb", {}).get("value", {})
    return json.dumps({key: known[key] for key in keys if key in known})


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


def between(run: Run, given: Given, history: list[str]) -> list[str]:
    """Return the rows within a range of steps."""
    low, high = given.get("minStep") or 0, given.get("maxStep")
    rows = zip(run.history, history, strict=True)
    found = [
        line for row, line in rows if low <= row["_step"] and (not high or row["_step"] < high)
    ]
    return found[: given.get("samples") or None]


def listed(value: str | list[str]) -> list[str]:
    """Coerce a single value to a list, as GraphQL does."""
    return [value] if isinstance(value, str) else value


def sampled(run: Run, spec: str) -> list[dict[str, Any]]:
    """Return all rows that have all of the keys, where W&B would return a sample."""
    keys = json.loads(spec).get("keys")
    if keys is None:
        return run.history
    rows = (row for row in run.history if all(key in row for key in keys))
    return [{key: row[key] for key in keys} for row in rows]


def asked(run: Run, given: Given) -> list[str]:
    if given.get("pattern"):
        raise Unknown("files by a pattern")
    return [name for name in run.files if not given.get("names") or name in given["names"]]


def file_node(state: State, run: Run, name: str) -> Node:
    content = run.files[name]
    address = f"{state.url}/storage/runs/{run.id}/{quote(name)}"
    return {
        "__typename": "File",
        "id": f"file-{run.id}-{name}",
        "name": name,
        "url": address,
        "directUrl": address,
        "sizeBytes": len(content),
        "mimetype": mimetypes.guess_type(name)[0],
        "updatedAt": run.heard,
        "md5": md5(content),
    }


def upserted(state: State, run: Run, inserted: bool) -> Node:
    # The client starts writing at this historyLineCount, which counts what a fork inherits. The
    # lines of a resumed run come from RunResumeStatus; a restarted run overwrites the old one.
    bucket = {**node(state, run), "historyLineCount": 0}
    return {"__typename": "Payload", "bucket": bucket, "inserted": inserted}


def upsert(state: State, given: Given) -> Node:
    """UpsertBucket: create or update a run."""
    if given.get("id"):
        run = next((run for run in state.runs.values() if run.storage_id == given["id"]), None)
        if run is None:
            raise Refused(404, f"run {given['id']} not found")
        run.upsert(given)
        return upserted(state, run, inserted=False)
    name = given.get("name") or state.new_id()
    project, entity = state.project(given.get("modelName")), state.own(given.get("entityName"))
    run, inserted = state.runs.get(name), name not in state.runs
    if run is None:
        run = state.runs[name] = Run(name, entity, project, display_name=name)
    elif run.project != project:
        raise Unknown(f"run {name} in two projects: {run.project} and {project}")
    if run.exit_code is not None or run.crashed:
        run.begin()
    run.upsert(given)
    return upserted(state, run, inserted)


def new_files(state: State, given: Given) -> Node:
    """CreateRunFiles: return the upload URLs."""
    run = state.find_run(given["projectName"], given["runName"])
    if run is None:
        raise Refused(404, f"run {given['runName']} not found")
    files = [
        {
            "__typename": "File",
            "name": name,
            "uploadUrl": f"{state.url}/storage/runs/{run.id}/{quote(name)}",
        }
        for name in given["files"]
    ]
    return {"__typename": "Payload", "runID": run.storage_id, "uploadHeaders": [], "files": files}
