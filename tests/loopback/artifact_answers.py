"""Resolvers for artifacts in W&B's GraphQL API."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from urllib.parse import quote

from tests.loopback import owners, run_answers
from tests.loopback.answers import Given, Node, connection
from tests.loopback.artifacts import Collection, Version
from tests.loopback.state import State
from tests.loopback.storage import md5


def version_node(state: State, version: Version) -> Node:
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
        "createdAt": version.created,
        "updatedAt": version.created,
        "aliases": [alias_node(state, collection, alias) for alias in version.aliases],
        "currentManifest": lambda _: manifest_node(state, version),
        "createdBy": lambda _: run_answers.node(state, state.runs[version.run or ""]),
        "usedBy": lambda given: connection(
            [run for run in state.runs.values() if version.id in run.used],
            lambda run: run_answers.node(state, run),
            "Run",
        )(given),
        "artifactMemberships": connection(
            [version], lambda each: membership_node(state, each), "ArtifactCollectionMembership"
        ),
        "filesByManifestEntries": lambda given: connection(
            sorted(version.files), lambda name: file_node(state, version, name), "File"
        )(given),
        "files": lambda given: files(state, version, given),
    }


def files(state: State, version: Version, given: Given) -> Node:
    wanted = given.get("names")
    names = sorted(name for name in version.files if not wanted or name in wanted)
    return connection(names, lambda name: file_node(state, version, name), "File")(given)


def versions(state: State, found: Sequence[Version], given: Given) -> Node:
    def numbered(version: Version) -> Node:
        return {"version": f"v{version.index}"}

    return connection(found, lambda each: version_node(state, each), "Artifact", numbered)(given)


def collection_node(state: State, collection: Collection) -> Node:
    newest = collection.versions[-1:]

    def member(given: Given) -> Node | None:
        found = collection.find(given["aliasName"])
        return membership_node(state, found) if found else None

    return {
        "__typename": "ArtifactSequence",
        "id": collection.id,
        "name": collection.name,
        "description": None,
        "createdAt": collection.created,
        "updatedAt": collection.created,
        "tags": connection([], dict, "Tag"),
        "project": lambda _: owners.project_node(state, collection.project),
        "type": lambda _: type_node(state, collection.type, collection.project),
        "defaultArtifactType": lambda _: type_node(state, collection.type, collection.project),
        "digestAlgorithm": "MANIFEST_MD5",
        "latestArtifact": lambda _: version_node(state, newest[0]) if newest else None,
        "aliases": connection(
            list(collection.aliases),
            lambda alias: alias_node(state, collection, alias),
            "ArtifactAlias",
        ),
        "artifacts": lambda given: versions(state, collection.versions[::-1], given),
        "artifactMembership": member,
    }


def alias_node(state: State, collection: Collection, alias: str) -> Node:
    return {
        "__typename": "ArtifactAlias",
        "id": f"alias-{collection.id}-{alias}",
        "alias": alias,
        "artifactCollection": lambda _: collection_node(state, collection),
    }


def type_node(state: State, kind: str, project: str) -> Node:
    own = [
        each for each in state.artifacts.values() if (each.type, each.project) == (kind, project)
    ]

    def named(given: Given) -> Node | None:
        return next(
            (collection_node(state, each) for each in own if each.name == given["name"]), None
        )

    return {
        "__typename": "ArtifactType",
        "id": f"type-{kind}",
        "name": kind,
        "description": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "artifactCollection": named,
        "artifactCollections": connection(
            own, lambda each: collection_node(state, each), "ArtifactSequence"
        ),
    }


def membership_node(state: State, version: Version) -> Node:
    collection = version.collection
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"membership-{version.id}",
        "versionIndex": version.index,
        "createdAt": version.created,
        "aliases": [alias_node(state, collection, alias) for alias in version.aliases],
        "artifactCollection": lambda _: collection_node(state, collection),
        "artifact": lambda _: version_node(state, version),
        "files": lambda given: files(state, version, given),
    }


def find(state: State, project: str, name: str) -> Version | None:
    """Return the version that NAME:ALIAS refers to."""
    name, _, alias = name.partition(":")
    collection = state.artifacts.get(name)
    if collection is None or collection.project != project:
        return None
    return collection.find(alias or "latest")


def file_node(state: State, version: Version, name: str) -> Node:
    address = f"{state.url}/storage/artifacts/{version.id}/{quote(name)}"
    content = version.files[name]
    return {
        "__typename": "File",
        "id": f"file-{version.id}-{name}",
        "name": name,
        "displayName": name,
        "directUrl": address,
        "url": address,
        "sizeBytes": len(content),
        "storagePath": f"artifacts/{version.id}/{name}",
        "mimetype": mimetypes.guess_type(name)[0],
        "updatedAt": version.created,
        "digest": md5(content),
        "md5": md5(content),
    }


def manifest_node(state: State, version: Version) -> Node:
    address = f"{state.url}/storage/manifests/{version.id}/manifest"
    return {
        "__typename": "ArtifactManifest",
        "id": f"manifest-{version.id}",
        "file": {
            "__typename": "File",
            "id": f"file-{version.id}",
            "directUrl": address,
            "uploadUrl": address,
            "uploadHeaders": [],
        },
    }
