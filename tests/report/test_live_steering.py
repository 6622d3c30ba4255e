"""A live page steers its sweep, and no other page does."""

from __future__ import annotations

import json

import pytest

from nn.sweeps.trials_reader import load_sweep_trials
from tests.conftest import WorkingDirectory
from tests.directory_snapshot import assert_unchanged
from tests.report.factories import make_run, make_sweep, update_json
from tests.report.live_server import live_browser, start_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve a sweep that does not run, and a run."""
    workdir = WorkingDirectory(tmp_path_factory.mktemp("live") / "work")
    make_run(workdir.path / "runs/one")
    sweep_dir = make_sweep(workdir.path / "runs/s", 3)
    update_json(sweep_dir, "settings.json", sampler=None)
    with start_server(workdir) as running_server:
        yield running_server


def post(server, body, path="s", method="POST", **headers):
    headers = {
        "Cookie": server.cookie,
        "Origin": f"http://127.0.0.1:{server.port}",
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with server.connect() as connection:
        connection.request(method, f"/steer/{path}", content, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_requests_are_carried_out_and_answered(server):
    status, text = post(server, {"verb": "enqueue", "arguments": "lr=0.1 depth=2 optimizer='sgd'"})
    assert (status, json.loads(text)["message"]) == (
        200,
        "Trial 3 is queued: lr=0.1 depth=2 optimizer=sgd\n"
        "The sweep does not run now; this takes effect when it does.",
    )
    status, text = post(server, {"verb": "stop", "arguments": "9"})
    assert status == 200
    assert "there is no such trial" in json.loads(text)["message"]
    post(server, {"verb": "pause"})
    trials = load_sweep_trials(server.runs / "s")
    assert trials.control == "paused"
    assert [trial.number for trial in trials.queued_trials] == [3]


@pytest.mark.parametrize(
    "changes",
    [
        {"Cookie": ""},
        {"Cookie": "nn-report=wrong"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"body": b"{"},
        {"body": {"verb": "status"}},
        {"body": {"verb": "enqueue", "arguments": "'"}},
        {"body": {"verb": "pause", "more": 1}},
        {"body": b" " * 70_000},
        {"path": "one"},
        {"path": "../s"},
        {"path": "nowhere"},
        {"method": "GET"},
        {"method": "PUT"},
    ],
    ids=str,
)
def test_other_requests_are_refused_and_change_nothing(server, changes):
    with assert_unchanged(server.runs):
        status, _ = post(server, **{"body": {"verb": "stop"}, **changes})
    assert status in (400, 403, 404, 405, 413)


@pytest.mark.sampled(1)
def test_buttons_steer_the_sweep(server, browser):
    with live_browser(browser, server) as opened:
        page = opened.open("/page/s")
        page.get_by_label("Point to queue").fill("lr=0.3")
        page.get_by_role("button", name="Enqueue").click()
        page.get_by_text("The search proposes depth, optimizer").wait_for()
        stop = page.get_by_role("button", name="Stop", exact=True)
        page.once("dialog", lambda dialog: dialog.dismiss())
        stop.click()
        assert load_sweep_trials(server.runs / "s").control != "stopped"
        page.once("dialog", lambda dialog: dialog.accept())
        stop.click()
        page.get_by_text("No trial starts any more").wait_for()
        assert [text.partition("?")[0] for text in opened.problems] == ["Stop this sweep"] * 2
        opened.problems.clear()
        run_page = opened.open("/page/one")
        assert run_page.get_by_role("button", name="Enqueue").count() == 0
    assert load_sweep_trials(server.runs / "s").control == "stopped"
