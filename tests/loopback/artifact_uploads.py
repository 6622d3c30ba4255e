"""Mutations that create artifacts: from a digest through uploads to a version with aliases."""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.loopback import artifact_answers as answers
from tests.loopback.answers import Given, Node, Refused, connection
from tests.loopback.artifacts import Collection, Version
from tests.loopback.state import State


def create(state: State, given: Given) -> Node:
    """CreateArtifact: return a pending version, or the complete one with the same content."""
    (name,) = given.get("artifactCollectionNames") or [given["artifactCollectionName"]]
    project, kind = state.project(given["projectName"]), given["artifactTypeName"]
    if name not in state.artifacts:
        state.artifacts[name] = Collection(f"collection-{name}", name, kind, project)
    collection = state.artifacts[name]
    if (collection.project, collection.type) != (project, kind):
        raise Refused(409, f"artifact {name} is {collection.type} of {collection.project}")
    version = collection.of_digest(given["digest"])
    if version is None:
        version = Version(
            id=f"artifact-{state.new_id()}",
            collection=collection,
            digest=given["digest"],
            client_id=given.get("clientID"),
            run=given.get("runName"),
            description=given.get("description"),
            metadata=json.loads(given.get("metadata") or "{}"),
            tags=[tag["tagName"] for tag in given.get("tags") or []],
            history_step=given.get("historyStep"),
        )
        collection.all.append(version)
    collection.name_it(version, given.get("aliases") or [])
    run = state.runs.get(given.get("runName") or "")
    if run is not None and version.id not in run.logged:
        run.logged.append(version.id)
    return {"__typename": "CreateArtifactPayload", "artifact": answers.version_node(state, version)}


def create_manifest(state: State, given: Given) -> Node:
    version = state.version(given["artifactID"])
    return {"__typename": "Payload", "artifactManifest": answers.manifest_node(state, version)}


def update_manifest(state: State, given: Given) -> Node:
    version = state.version(given["artifactManifestID"].removeprefix("manifest-"))
    return {"__typename": "Payload", "artifactManifest": answers.manifest_node(state, version)}


def create_files(state: State, given: Given) -> Node:
    """CreateArtifactFiles: return the upload URLs."""

    def shown(asked: Given) -> Node:
        version = state.version(asked["artifactID"])
        return {
            "__typename": "File",
            "storagePath": f"artifacts/{version.id}/{asked['name']}",
            "uploadUrl": f"{state.url}/storage/artifacts/{version.id}/{quote(asked['name'])}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"__typename": "Artifact", "id": version.id},
        }

    return {
        "__typename": "Payload",
        "files": connection(given["artifactFiles"], shown, "File"),
    }


def commit(state: State, given: Given) -> Node:
    version = state.version(given["artifactID"])
    version.collection.commit(version)
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def update(state: State, given: Given) -> Node:
    version = state.version(given["artifactID"])
    if given.get("metadata") is not None:
        version.metadata = json.loads(given["metadata"])
    if given.get("description") is not None:
        version.description = given["description"]
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def use(state: State, given: Given) -> Node:
    """UseArtifact: record an artifact as an input of a run."""
    version = state.version(given["artifactID"])
    run = state.runs[given["runName"]]
    if version.id not in run.used:
        run.used.append(version.id)
    return {"__typename": "Payload", "artifact": answers.version_node(state, version)}


def add_aliases(state: State, given: Given) -> Node:
    version = state.version(given["artifactID"])
    version.collection.name_it(version, given["aliases"])
    return {"__typename": "Payload", "success": True}


def delete_aliases(state: State, given: Given) -> Node:
    version = state.version(given["artifactID"])
    for each in given["aliases"]:
        version.collection.aliases.pop(each["alias"], None)
    return {"__typename": "Payload", "success": True}
