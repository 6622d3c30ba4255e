"""Resolvers for sweeps and agents in W&B's GraphQL API."""

from __future__ import annotations

import json

import yaml

from nn.sweeps import schema
from tests.fake_wandb import account_resolvers, run_resolvers
from tests.fake_wandb.graphql_executor import ApiError, Args, Node, connection
from tests.fake_wandb.state import ServerState
from tests.fake_wandb.sweeps import Agent, Sweep


def sweep_node(state: ServerState, sweep: Sweep) -> Node:
    runs = state.runs_of_sweep(sweep.id)
    agents = [
        resolve_agent for resolve_agent in state.agents.values() if resolve_agent.sweep == sweep.id
    ]
    metric = sweep.parsed_config.metric
    values = [value for run in runs for value in (run.metric_values(metric.name) if metric else [])]

    def agent(args: Args) -> Node | None:
        agent = state.agents.get(args["agentName"])
        return agent_node(state, agent) if agent else None

    return {
        "__typename": "Sweep",
        "id": f"sweep-{sweep.id}",
        "name": sweep.id,
        "displayName": sweep.display_name,
        "method": sweep.parsed_config.method,
        "state": sweep.state,
        "description": sweep.parsed_config.description,
        "config": sweep.config,
        "createdAt": sweep.created_at,
        "updatedAt": sweep.created_at,
        "heartbeatAt": sweep.created_at,
        "earlyStopJobRunning": False,
        "bestLoss": min(values, key=lambda value: metric.minimization_sign * value)
        if metric and values
        else None,
        "controller": None,
        "scheduler": None,
        "runCount": len(runs),
        "runCountExpected": sweep.expected_run_count,
        "runs": connection(runs, lambda run: run_resolvers.run_node(state, run), "Run"),
        "agents": connection(agents, lambda each: agent_node(state, each), "Agent"),
        "agent": agent,
        "project": lambda _: account_resolvers.project_node(state, sweep.project),
    }


def agent_node(state: ServerState, agent: Agent) -> Node:
    runs = [state.runs[name] for name in agent.assigned_run_ids if name in state.runs]
    return {
        "__typename": "Agent",
        "id": agent.id,
        "name": agent.id,
        "host": agent.host,
        "state": "RUNNING",
        "totalRuns": len(agent.assigned_run_ids),
        "createdAt": agent.created_at,
        "heartbeatAt": agent.created_at,
        "runs": connection(runs, lambda run: run_resolvers.run_node(state, run), "Run"),
    }


def upsert_sweep(state: ServerState, args: Args) -> Node:
    """UpsertSweep: create a sweep or set its state."""
    name = (args.get("id") or "").removeprefix("sweep-")
    if name:
        sweep = state.sweeps.get(name)
        if sweep is None:
            raise ApiError(404, f"sweep {name} not found")
    else:
        state.check_entity(args.get("entityName"))
        name, project = state.new_id(), state.get_or_create_project(args.get("projectName"))
        sweep = Sweep(name, project, args["config"], seed=len(state.sweeps))
    if args.get("config"):
        problems = schema.list_errors(yaml.safe_load(args["config"]))
        if problems:
            raise ApiError(400, f"Invalid sweep config: {' '.join(problems)}")
        sweep.config = args["config"]
    sweep.display_name = args.get("displayName") or sweep.display_name
    sweep.state = args.get("state") or sweep.state
    state.sweeps[name] = sweep
    return {
        "__typename": "Payload",
        "sweep": sweep_node(state, sweep),
        "configValidationWarnings": [],
    }


def enqueue_run(state: ServerState, args: Args) -> Node:
    """EnqueueSweepRun: a point that the next free agent runs."""
    sweep, run_id = state.sweeps[args["id"].removeprefix("sweep-")], state.new_id()
    sweep.proposed_points[run_id] = json.loads(args["config"])
    sweep.requeued_run_ids.append(run_id)
    return {"__typename": "Payload", "id": run_id, "runQueueItemId": f"item-{run_id}"}


def create_agent(state: ServerState, args: Args) -> Node:
    if args["sweep"] not in state.sweeps:
        raise ApiError(404, f"sweep {args['sweep']} not found")
    agent = Agent(f"agent-{state.new_id()}", args["sweep"], args["host"])
    state.agents[agent.id] = agent
    return {"__typename": "Payload", "agent": agent_node(state, agent)}


def agent_heartbeat(state: ServerState, args: Args) -> Node:
    """Heartbeat: record what an agent runs and return its next commands."""
    agent = state.agents.get(args["id"])
    if agent is None or agent.sweep not in state.sweeps:
        raise ApiError(404, f"agent {args['id']} not found")
    run_states = json.loads(args.get("runState") or "{}")
    agent.running_run_ids, agent.heartbeats = (
        [name for name, runs in run_states.items() if runs],
        agent.heartbeats + 1,
    )
    commands = state.sweeps[agent.sweep].next_commands(
        agent, state.runs_of_sweep(agent.sweep), state.new_id()
    )
    return {
        "__typename": "Payload",
        "agent": agent_node(state, agent),
        "commands": json.dumps(commands),
    }
