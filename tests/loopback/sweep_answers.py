"""Resolvers for sweeps and agents in W&B's GraphQL API."""

from __future__ import annotations

import json

import yaml

from nn.sweeps import schema
from tests.loopback import owners, run_answers
from tests.loopback.answers import Given, Node, Refused, connection
from tests.loopback.state import State
from tests.loopback.sweeps import Agent, Sweep


def node(state: State, sweep: Sweep) -> Node:
    runs = state.runs_of(sweep.id)
    agents = [agent for agent in state.agents.values() if agent.sweep == sweep.id]
    metric = sweep.rule.metric
    found = [value for run in runs for value in (run.values(metric.name) if metric else [])]

    def agent(given: Given) -> Node | None:
        named = state.agents.get(given["agentName"])
        return agent_node(state, named) if named else None

    return {
        "__typename": "Sweep",
        "id": f"sweep-{sweep.id}",
        "name": sweep.id,
        "displayName": sweep.display_name,
        "method": sweep.rule.method,
        "state": sweep.state,
        "description": sweep.rule.description,
        "config": sweep.config,
        "createdAt": sweep.created,
        "updatedAt": sweep.created,
        "heartbeatAt": sweep.created,
        "earlyStopJobRunning": False,
        "bestLoss": min(found, key=lambda value: metric.minimization_sign * value)
        if metric and found
        else None,
        "controller": None,
        "scheduler": None,
        "runCount": len(runs),
        "runCountExpected": sweep.expected,
        "runs": connection(runs, lambda run: run_answers.node(state, run), "Run"),
        "agents": connection(agents, lambda each: agent_node(state, each), "Agent"),
        "agent": agent,
        "project": lambda _: owners.project_node(state, sweep.project),
    }


def agent_node(state: State, agent: Agent) -> Node:
    runs = [state.runs[name] for name in agent.given if name in state.runs]
    return {
        "__typename": "Agent",
        "id": agent.id,
        "name": agent.id,
        "host": agent.host,
        "state": "RUNNING",
        "totalRuns": len(agent.given),
        "createdAt": agent.created,
        "heartbeatAt": agent.created,
        "runs": connection(runs, lambda run: run_answers.node(state, run), "Run"),
    }


def upsert(state: State, given: Given) -> Node:
    """UpsertSweep: create a sweep or set its state."""
    name = (given.get("id") or "").removeprefix("sweep-")
    if name:
        sweep = state.sweeps.get(name)
        if sweep is None:
            raise Refused(404, f"sweep {name} not found")
    else:
        state.own(given.get("entityName"))
        name, project = state.new_id(), state.project(given.get("projectName"))
        sweep = Sweep(name, project, given["config"], seed=len(state.sweeps))
    if given.get("config"):
        problems = schema.list_errors(yaml.safe_load(given["config"]))
        if problems:
            raise Refused(400, f"Invalid sweep config: {' '.join(problems)}")
        sweep.config = given["config"]
    sweep.display_name = given.get("displayName") or sweep.display_name
    sweep.state = given.get("state") or sweep.state
    state.sweeps[name] = sweep
    return {"__typename": "Payload", "sweep": node(state, sweep), "configValidationWarnings": []}


def create_agent(state: State, given: Given) -> Node:
    if given["sweep"] not in state.sweeps:
        raise Refused(404, f"sweep {given['sweep']} not found")
    agent = Agent(f"agent-{state.new_id()}", given["sweep"], given["host"])
    state.agents[agent.id] = agent
    return {"__typename": "Payload", "agent": agent_node(state, agent)}


def heartbeat(state: State, given: Given) -> Node:
    """Heartbeat: record what an agent runs and return its next commands."""
    agent = state.agents.get(given["id"])
    if agent is None or agent.sweep not in state.sweeps:
        raise Refused(404, f"agent {given['id']} not found")
    running = json.loads(given.get("runState") or "{}")
    agent.live, agent.heartbeats = (
        [name for name, runs in running.items() if runs],
        agent.heartbeats + 1,
    )
    commands = state.sweeps[agent.sweep].commands(agent, state.runs_of(agent.sweep), state.new_id())
    return {
        "__typename": "Payload",
        "agent": agent_node(state, agent),
        "commands": json.dumps(commands),
    }
