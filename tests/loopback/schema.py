"""All queries and mutations that the server supports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.loopback import artifact_answers as artifacts
from tests.loopback import artifact_uploads as uploads
from tests.loopback import filters, owners, reports
from tests.loopback import run_answers as runs
from tests.loopback import sweep_answers as sweeps
from tests.loopback.answers import Answer, Given, Node, connection
from tests.loopback.language import Document
from tests.loopback.state import State


def answer(state: State, document: Document, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Execute an operation."""
    with state.lock:
        return Answer(document, variables).of(queries(state) | mutations(state))


def queries(state: State) -> dict[str, Any]:
    def named(given: Given) -> Node | None:
        state.own(given.get("entityName"))
        name = given.get("name") or "uncategorized"
        return project(state, name) if name in state.projects else None

    def entity(given: Given) -> Node | None:
        return owners.entity_node(state) if given["name"] == state.entity else None

    def collection(given: Given) -> Node | None:
        found = (each for each in state.artifacts.values() if each.id == given["id"])
        return next((artifacts.collection_node(state, each) for each in found), None)

    return {
        "viewer": owners.user(state),
        "serverInfo": {"__typename": "ServerInfo", "features": []},
        "entity": lambda given: (
            owners.entity_node(state) if given["name"] == state.entity else None
        ),
        "project": named,
        "model": named,
        "models": connection(state.projects, lambda name: project(state, name), "Project"),
        "artifact": lambda given: artifacts.version_node(state, state.version(given["id"])),
        "artifactCollection": collection,
        "clientIDMapping": lambda given: {
            "__typename": "ClientIDMapping",
            "serverID": state.version(given["clientID"]).id,
        },
    }


def mutations(state: State) -> dict[str, Any]:
    told = {
        "upsertBucket": runs.upsert,
        "createRunFiles": runs.new_files,
        "stopRun": stop,
        "createArtifact": uploads.create,
        "createArtifactManifest": uploads.create_manifest,
        "updateArtifactManifest": uploads.update_manifest,
        "createArtifactFiles": uploads.create_files,
        "commitArtifact": uploads.commit,
        "updateArtifact": uploads.update,
        "useArtifact": uploads.use,
        "addAliases": uploads.add_aliases,
        "deleteAliases": uploads.delete_aliases,
        "upsertSweep": sweeps.upsert,
        "createAgent": sweeps.create_agent,
        "agentHeartbeat": sweeps.heartbeat,
        "upsertView": reports.upsert,
    }
    return {
        name: lambda given, carry_out=carry_out: carry_out(state, given["input"])
        for name, carry_out in told.items()
    }


def stop(state: State, given: Given) -> Node:
    """StopRun: what the stop button of the web page sends."""
    for run in state.runs.values():
        if run.storage_id == given["id"]:
            run.stop_by_stream = run.stop_by_agent = True
    return {"__typename": "Payload", "success": True}


def project(state: State, name: str) -> Node:
    """Return all fields of a project, with its contents."""

    def run(given: Given) -> Node | None:
        found = state.find_run(name, given["name"])
        return runs.node(state, found) if found else None

    def sweep(given: Given) -> Node | None:
        found = state.sweeps.get(given["sweepName"])
        return sweeps.node(state, found) if found and found.project == name else None

    def kind(given: Given) -> Node | None:
        known = {each.type for each in state.artifacts.values() if each.project == name}
        return artifacts.type_node(state, given["name"], name) if given["name"] in known else None

    def membership(given: Given) -> Node | None:
        found = artifacts.find(state, name, given["name"])
        return artifacts.membership_node(state, found) if found else None

    def artifact(given: Given) -> Node | None:
        found = artifacts.find(state, name, given["name"])
        return artifacts.version_node(state, found) if found else None

    def collection(given: Given) -> Node | None:
        found = state.artifacts.get(given["name"])
        if found is None or found.project != name:
            return None
        return artifacts.collection_node(state, found)

    own = [each for each in state.sweeps.values() if each.project == name]
    return {
        **owners.project_node(state, name),
        "run": run,
        "bucket": run,
        "runCount": lambda given: len(filters.listed(state, name, given)),
        "runs": lambda given: connection(
            filters.listed(state, name, given), lambda each: runs.node(state, each), "Run"
        )(given),
        "sweep": sweep,
        "sweeps": connection(own, lambda each: sweeps.node(state, each), "Sweep"),
        "totalSweeps": len(own),
        "artifact": artifact,
        "artifactType": kind,
        "artifactCollection": collection,
        "artifactCollectionMembership": membership,
    }
