"""Resolvers for artifacts in W&B's GraphQL API."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from urllib.parse import quote

from tests.fake_wandb import account_resolvers, run_resolvers
from tests.fake_wandb.artifacts import ArtifactCollection, ArtifactVersion
from tests.fake_wandb.graphql_executor import Args, Node, connection
from tests.fake_wandb.state import ServerState
from tests.fake_wandb.storage import base64_md5


def version_node(state: ServerState, version: ArtifactVersion) -> Node:
    collection = version.collection
    return {
        "__typename": "Artifact",
        "id": version.id,
        "artifactSequence": lambda _: collection_node(state, collection),
        "artifactType": lambda _: type_node(state, collection.type, collection.project),
        "versionIndex": version.index,
        "description": version.description,
        "metadata": json.dumps(version.metadata),
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [{"__typename": "Tag", "id": f"tag-{name}", "name": name} for name in version.tags],
        "historyStep": version.history_step,
        "state": version.state,
        "size": sum(len(content) for content in version.files.values()),
        "digest": version.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": version.id,
        "fileCount": len(version.files),
        "createdAt": version.created_at,
        "updatedAt": version.created_at,
        "aliases": [alias_node(state, collection, alias) for alias in version.aliases],
        "currentManifest": lambda _: manifest_node(state, version),
        "createdBy": lambda _: run_resolvers.run_node(state, state.runs[version.run or ""]),
        "usedBy": lambda args: connection(
            [run for run in state.runs.values() if version.id in run.used_artifacts],
            lambda run: run_resolvers.run_node(state, run),
            "Run",
        )(args),
        "artifactMemberships": connection(
            [version], lambda each: membership_node(state, each), "ArtifactCollectionMembership"
        ),
        "filesByManifestEntries": lambda args: connection(
            sorted(version.files), lambda name: file_node(state, version, name), "File"
        )(args),
        "files": lambda args: file_connection(state, version, args),
    }


def file_connection(state: ServerState, version: ArtifactVersion, args: Args) -> Node:
    requested = args.get("names")
    names = sorted(name for name in version.files if not requested or name in requested)
    return connection(names, lambda name: file_node(state, version, name), "File")(args)


def version_connection(state: ServerState, versions: Sequence[ArtifactVersion], args: Args) -> Node:
    def edge_fields(version: ArtifactVersion) -> Node:
        return {"version": f"v{version.index}"}

    return connection(versions, lambda each: version_node(state, each), "Artifact", edge_fields)(
        args
    )


def collection_node(state: ServerState, collection: ArtifactCollection) -> Node:
    newest = collection.versions[-1:]

    def resolve_membership(args: Args) -> Node | None:
        found = collection.find(args["aliasName"])
        return membership_node(state, found) if found else None

    return {
        "__typename": "ArtifactSequence",
        "id": collection.id,
        "name": collection.name,
        "description": None,
        "createdAt": collection.created_at,
        "updatedAt": collection.created_at,
        "tags": connection([], dict, "Tag"),
        "project": lambda _: account_resolvers.project_node(state, collection.project),
        "type": lambda _: type_node(state, collection.type, collection.project),
        "defaultArtifactType": lambda _: type_node(state, collection.type, collection.project),
        "digestAlgorithm": "MANIFEST_MD5",
        "latestArtifact": lambda _: version_node(state, newest[0]) if newest else None,
        "aliases": connection(
            list(collection.aliases),
            lambda alias: alias_node(state, collection, alias),
            "ArtifactAlias",
        ),
        "artifacts": lambda args: version_connection(state, collection.versions[::-1], args),
        "artifactMembership": resolve_membership,
    }


def alias_node(state: ServerState, collection: ArtifactCollection, alias: str) -> Node:
    return {
        "__typename": "ArtifactAlias",
        "id": f"alias-{collection.id}-{alias}",
        "alias": alias,
        "artifactCollection": lambda _: collection_node(state, collection),
    }


def type_node(state: ServerState, type_name: str, project: str) -> Node:
    collections = [
        each
        for each in state.artifacts.values()
        if (each.type, each.project) == (type_name, project)
    ]

    def resolve_collection(args: Args) -> Node | None:
        return next(
            (collection_node(state, each) for each in collections if each.name == args["name"]),
            None,
        )

    return {
        "__typename": "ArtifactType",
        "id": f"type-{type_name}",
        "name": type_name,
        "description": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "artifactCollection": resolve_collection,
        "artifactCollections": connection(
            collections, lambda each: collection_node(state, each), "ArtifactSequence"
        ),
    }


def membership_node(state: ServerState, version: ArtifactVersion) -> Node:
    collection = version.collection
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"membership-{version.id}",
        "versionIndex": version.index,
        "createdAt": version.created_at,
        "aliases": [alias_node(state, collection, alias) for alias in version.aliases],
        "artifactCollection": lambda _: collection_node(state, collection),
        "artifact": lambda _: version_node(state, version),
        "files": lambda args: file_connection(state, version, args),
    }


def find_version(state: ServerState, project: str, name: str) -> ArtifactVersion | None:
    """Return the version that NAME:ALIAS refers to."""
    name, _, alias = name.partition(":")
    collection = state.artifacts.get(name)
    if collection is None or collection.project != project:
        return None
    return collection.find(alias or "latest")


def file_node(state: ServerState, version: ArtifactVersion, name: str) -> Node:
    url = f"{state.url}/storage/artifacts/{version.id}/{quote(name)}"
    content = version.files[name]
    return {
        "__typename": "File",
        "id": f"file-{version.id}-{name}",
        "name": name,
        "displayName": name,
        "directUrl": url,
        "url": url,
        "sizeBytes": len(content),
        "storagePath": f"artifacts/{version.id}/{name}",
        "mimetype": mimetypes.guess_type(name)[0],
        "updatedAt": version.created_at,
        "digest": base64_md5(content),
        "md5": base64_md5(content),
    }


def manifest_node(state: ServerState, version: ArtifactVersion) -> Node:
    url = f"{state.url}/storage/manifests/{version.id}/manifest"
    return {
        "__typename": "ArtifactManifest",
        "id": f"manifest-{version.id}",
        "file": {
            "__typename": "File",
            "id": f"file-{version.id}",
            "directUrl": url,
            "uploadUrl": url,
            "uploadHeaders": [],
        },
    }
