"""Resolvers for the user, the entity and the projects, without their contents."""

from __future__ import annotations

from tests.fake_wandb.graphql_executor import Node, connection
from tests.fake_wandb.state import ServerState


def user_node(state: ServerState) -> Node:
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


def entity_node(state: ServerState) -> Node:
    return {
        "__typename": "Entity",
        "id": "entity-1",
        "name": state.entity,
        "organization": None,
        "user": None,
    }


def project_internal_id(state: ServerState, project: str) -> str:
    return str(state.projects.index(project) + 1)


def project_node(state: ServerState, project: str) -> Node:
    """Return the fields of a project other than its contents."""
    return {
        "__typename": "Project",
        "id": f"project-{project}",
        "internalId": project_internal_id(state, project),
        "name": project,
        "entityName": state.entity,
        "entity": entity_node(state),
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "readOnly": False,
        "user": lambda _: user_node(state),
    }
