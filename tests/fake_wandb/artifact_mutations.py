"""Mutations that create artifacts: from a digest through uploads to a version with aliases."""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.fake_wandb import artifact_resolvers as answers
from tests.fake_wandb.artifacts import ArtifactCollection, ArtifactVersion
from tests.fake_wandb.graphql_executor import ApiError, Args, Node, connection
from tests.fake_wandb.state import ServerState


def create_artifact(state: ServerState, args: Args) -> Node:
    """CreateArtifact: return a pending version, or the complete one with the same content."""
    (name,) = args.get("artifactCollectionNames") or [args["artifactCollectionName"]]
    project, type_name = state.get_or_create_project(args["projectName"]), args["artifactTypeName"]
    if name not in state.artifacts:
        state.artifacts[name] = ArtifactCollection(f"collection-{name}", name, type_name, project)
    collection = state.artifacts[name]
    if (collection.project, collection.type) != (project, type_name):
        raise ApiError(409, f"artifact {name} is {collection.type} of {collection.project}")
    version = collection.find_by_digest(args["digest"])
    if version is None:
        version = ArtifactVersion(
            id=f"artifact-{state.new_id()}",
            collection=collection,
            digest=args["digest"],
            client_id=args.get("clientID"),
            run=args.get("runName"),
            description=args.get("description"),
            metadata=json.loads(args.get("metadata") or "{}"),
            tags=[tag["tagName"] for tag in args.get("tags") or []],
            history_step=args.get("historyStep"),
        )
        collection.all_versions.append(version)
    collection.add_aliases(version, args.get("aliases") or [])
    run = state.runs.get(args.get("runName") or "")
    if run is not None and version.id not in run.logged_artifacts:
        run.logged_artifacts.append(version.id)
    return {"__typename": "CreateArtifactPayload", "artifact": answers.version_node(state, version)}


def create_artifact_manifest(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactID"])
    return {"__typename": "Payload", "artifactManifest": answers.manifest_node(state, version)}


def update_artifact_manifest(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactManifestID"].removeprefix("manifest-"))
    return {"__typename": "Payload", "artifactManifest": answers.manifest_node(state, version)}


def create_artifact_files(state: ServerState, args: Args) -> Node:
    """CreateArtifactFiles: return the upload URLs."""

    def upload_node(file_args: Args) -> Node:
        version = state.get_version(file_args["artifactID"])
        return {
            "__typename": "File",
            "storagePath": f"artifacts/{version.id}/{file_args['name']}",
            "uploadUrl": f"{state.url}/storage/artifacts/{version.id}/{quote(file_args['name'])}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"__typename": "Artifact", "id": version.id},
        }

    return {
        "__typename": "Payload",
        "files": connection(args["artifactFiles"], upload_node, "File"),
    }


def commit_artifact(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactID"])
    version.collection.commit(version)
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def update_artifact(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactID"])
    if args.get("metadata") is not None:
        version.metadata = json.loads(args["metadata"])
    if args.get("description") is not None:
        version.description = args["description"]
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def use_artifact(state: ServerState, args: Args) -> Node:
    """UseArtifact: record an artifact as an input of a run."""
    version = state.get_version(args["artifactID"])
    run = state.runs[args["runName"]]
    if version.id not in run.used_artifacts:
        run.used_artifacts.append(version.id)
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def add_aliases(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactID"])
    version.collection.add_aliases(version, args["aliases"])
    return {"__typename": "Payload", "success": True}


def delete_aliases(state: ServerState, args: Args) -> Node:
    version = state.get_version(args["artifactID"])
    for alias in args["aliases"]:
        version.collection.aliases.pop(alias["alias"], None)
    return {"__typename": "Payload", "success": True}
