"""All queries and mutations that the server supports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fake_wandb import account_resolvers, filters, reports
from tests.fake_wandb import artifact_mutations as uploads
from tests.fake_wandb import artifact_resolvers as artifacts
from tests.fake_wandb import run_resolvers as runs
from tests.fake_wandb import sweep_resolvers as sweeps
from tests.fake_wandb.graphql_executor import Args, Execution, Node, connection
from tests.fake_wandb.graphql_parser import Document
from tests.fake_wandb.state import ServerState


def execute(state: ServerState, document: Document, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Execute an operation."""
    with state.lock:
        return Execution(document, variables).execute(query_fields(state) | mutation_fields(state))


def query_fields(state: ServerState) -> dict[str, Any]:
    def resolve_project(args: Args) -> Node | None:
        state.check_entity(args.get("entityName"))
        name = args.get("name") or "uncategorized"
        return full_project_node(state, name) if name in state.projects else None

    def resolve_entity(args: Args) -> Node | None:
        return account_resolvers.entity_node(state) if args["name"] == state.entity else None

    def resolve_collection(args: Args) -> Node | None:
        found = (each for each in state.artifacts.values() if each.id == args["id"])
        return next((artifacts.collection_node(state, each) for each in found), None)

    return {
        "viewer": account_resolvers.user_node(state),
        "serverInfo": {
            "__typename": "ServerInfo",
            "features": [
                {"__typename": "ServerFeature", "name": name, "isEnabled": True}
                for name in state.features
            ],
        },
        "entity": lambda args: (
            account_resolvers.entity_node(state) if args["name"] == state.entity else None
        ),
        "project": resolve_project,
        "model": resolve_project,
        "models": connection(
            state.projects, lambda name: full_project_node(state, name), "Project"
        ),
        "artifact": lambda args: artifacts.version_node(state, state.get_version(args["id"])),
        "artifactCollection": resolve_collection,
        "clientIDMapping": lambda args: {
            "__typename": "ClientIDMapping",
            "serverID": state.get_version(args["clientID"]).id,
        },
    }


def mutation_fields(state: ServerState) -> dict[str, Any]:
    resolvers = {
        "upsertBucket": runs.upsert_run,
        "createRunFiles": runs.create_run_files,
        "stopRun": stop_run,
        "createArtifact": uploads.create_artifact,
        "createArtifactManifest": uploads.create_artifact_manifest,
        "updateArtifactManifest": uploads.update_artifact_manifest,
        "createArtifactFiles": uploads.create_artifact_files,
        "commitArtifact": uploads.commit_artifact,
        "updateArtifact": uploads.update_artifact,
        "useArtifact": uploads.use_artifact,
        "addAliases": uploads.add_aliases,
        "deleteAliases": uploads.delete_aliases,
        "upsertSweep": sweeps.upsert_sweep,
        "enqueueSweepRun": sweeps.enqueue_run,
        "createAgent": sweeps.create_agent,
        "agentHeartbeat": sweeps.agent_heartbeat,
        "upsertView": reports.upsert_report,
    }
    return {
        name: lambda args, carry_out=carry_out: carry_out(state, args["input"])
        for name, carry_out in resolvers.items()
    }


def stop_run(state: ServerState, args: Args) -> Node:
    """StopRun: what the stop button of the web page sends."""
    for run in state.runs.values():
        if run.storage_id == args["id"]:
            run.should_stop_by_stream = run.should_stop_by_agent = True
    return {"__typename": "Payload", "success": True}


def full_project_node(state: ServerState, name: str) -> Node:
    """Return all fields of a project, with its contents."""

    def resolve_run(args: Args) -> Node | None:
        found = state.find_run(name, args["name"])
        return runs.run_node(state, found) if found else None

    def resolve_sweep(args: Args) -> Node | None:
        found = state.sweeps.get(args["sweepName"])
        return sweeps.sweep_node(state, found) if found and found.project == name else None

    def resolve_artifact_type(args: Args) -> Node | None:
        type_names = {each.type for each in state.artifacts.values() if each.project == name}
        return (
            artifacts.type_node(state, args["name"], name) if args["name"] in type_names else None
        )

    def resolve_membership(args: Args) -> Node | None:
        found = artifacts.find_version(state, name, args["name"])
        return artifacts.membership_node(state, found) if found else None

    def resolve_artifact(args: Args) -> Node | None:
        found = artifacts.find_version(state, name, args["name"])
        return artifacts.version_node(state, found) if found else None

    def resolve_collection(args: Args) -> Node | None:
        found = state.artifacts.get(args["name"])
        if found is None or found.project != name:
            return None
        return artifacts.collection_node(state, found)

    project_sweeps = [each for each in state.sweeps.values() if each.project == name]
    return {
        **account_resolvers.project_node(state, name),
        "run": resolve_run,
        "bucket": resolve_run,
        "runCount": lambda args: len(filters.select_runs(state, name, args)),
        "runs": lambda args: connection(
            filters.select_runs(state, name, args), lambda each: runs.run_node(state, each), "Run"
        )(args),
        "sweep": resolve_sweep,
        "sweeps": connection(project_sweeps, lambda each: sweeps.sweep_node(state, each), "Sweep"),
        "totalSweeps": len(project_sweeps),
        "artifact": resolve_artifact,
        "artifactType": resolve_artifact_type,
        "artifactCollection": resolve_collection,
        "artifactCollectionMembership": resolve_membership,
    }
