"""Resolvers for the user, the entity and the projects, without their contents."""

from __future__ import annotations

from tests.loopback.answers import Node, connection
from tests.loopback.state import State


def user(state: State) -> Node:
    return {
        "__typename": "User",
        "id": "user-1",
        "name": state.entity,
        "username": state.entity,
        "entity": state.entity,
        "email": "somebody@example.com",
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "apiKeys": connection([], dict, "ApiKey"),
        "teams": connection([], dict, "Entity"),
    }


def entity_node(state: State) -> Node:
    return {
        "__typename": "Entity",
        "id": "entity-1",
        "name": state.entity,
        "organization": None,
        "user": None,
    }


def project_number(state: State, project: str) -> str:
    return str(state.projects.index(project) + 1)


def project_node(state: State, project: str) -> Node:
    """Return the fields of a project other than its contents."""
    return {
        "__typename": "Project",
        "id": f"project-{project}",
        "internalId": project_number(state, project),
        "name": project,
        "entityName": state.entity,
        "entity": entity_node(state),
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "readOnly": False,
        "user": lambda _: user(state),
    }
