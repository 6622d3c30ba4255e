"""The live report in a real browser, while the real commands train and are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time

import pytest

from tests.conftest import SWEEP_SCRIPT, TRAIN_SCRIPT
from tests.report.browser import needs_chromium
from tests.report.factories import make_sweep
from tests.report.live_server import LiveBrowser, live_browser, start_server

pytestmark = needs_chromium

SWEEP_FILE = """
program: scripts/train.py
method: random
metric: {name: val/loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 0.003, max: 0.1}
  depth: {values: [1, 2, 3]}
"""
PLOT_DATA = "document.querySelector('#chart-{} .plot')?.data"


def count_updates(page, number, timeout_seconds=90):
    """Wait until the page has been updated this often."""
    page.evaluate(
        "window.updates = 0; window.observer ??= new MutationObserver(() => { updates += 1; });"
        "observer.observe(document.documentElement, { attributeFilter: ['data-live'] })"
    )
    seen, last = set(), time.monotonic() + timeout_seconds
    while len(seen) <= number:
        assert time.monotonic() < last, f"only {len(seen)} updates"
        seen.add(page.evaluate("document.documentElement.dataset.live"))
        page.wait_for_timeout(100)


def wait_until(page, expression, timeout_seconds=60):
    """Wait until an expression is true; Playwright's own function needs `unsafe-eval`."""
    deadline = time.monotonic() + timeout_seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def start_sweep(workdir, *overrides):
    (workdir.path / "sweep.yaml").write_text(SWEEP_FILE)
    return workdir.start(
        SWEEP_SCRIPT, "sweep.yaml", "--workers", "1", "--name", "real", "tracking=disabled",
        "batch_size=16", *overrides,
    )  # fmt: skip


def wait_for_file(file):
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, file
        time.sleep(0.1)


def test_epochs_of_a_running_sweep_appear_by_themselves(browser, workdir):
    (workdir.path / "runs").mkdir()
    trial = workdir.path / "runs/sweeps/real/trials/0000"
    with start_server(workdir) as server, live_browser(browser, server) as live:
        index = live.open("/")
        with start_sweep(workdir, "epochs=2000", "width=512") as sweep:
            try:
                index.get_by_role("link", name="sweeps/real").wait_for(timeout=60_000)
                wait_for_file(trial / "history.jsonl")
                page = live.open("/page/sweeps/real/trials/0000")
                num_epochs = f"toArray({PLOT_DATA.format('loss')}?.[0].y).length"
                for _ in range(2):
                    num_lines = (trial / "history.jsonl").read_bytes().count(b"\n")
                    wait_until(page, f"{num_epochs} >= {num_lines}")
                    assert sweep.poll() is None
            finally:
                sweep.kill()


@pytest.mark.soak
def test_zoom_and_brush_are_kept_and_a_killed_sweep_is_marked(browser, workdir):
    (workdir.path / "runs").mkdir()
    trials = workdir.path / "runs/sweeps/real/trials"
    with start_server(workdir) as server, live_browser(browser, server) as live:
        with start_sweep(workdir, "--count", "400", "epochs=12", "width=256") as sweep:
            try:
                wait_for_file(trials / "0002/history.jsonl")
                page = live.open("/page/sweeps/real")
                parallel = PLOT_DATA.format("parallel")
                wait_until(page, f"toArray({parallel}?.[0].dimensions[0].values).length > 1")
                page.locator("#chart-parallel").scroll_into_view_if_needed()
                axis = page.locator("#chart-parallel .axis-brush").last.bounding_box()
                x, top, height = axis["x"] + axis["width"] / 2, axis["y"], axis["height"]
                page.mouse.move(x, top + 0.95 * height)
                page.mouse.down()
                page.mouse.move(x, top + 0.2 * height, steps=8)
                page.mouse.up()
                brush = f"{parallel}[0].dimensions.at(-1).constraintrange"
                wait_until(page, brush)
                brushed = page.evaluate(brush)
                curves = "document.querySelector('#chart-curves .plot')"
                page.evaluate(f"Plotly.relayout({curves}, {{'xaxis.range': [2, 5]}})")
                search = page.locator("#table-trials").get_by_role("searchbox")
                search.fill("val/loss>0")
                page.evaluate("scrollTo(0, 900)")
                count_updates(page, 10)
                assert page.evaluate(brush) == brushed
                assert page.evaluate(f"{curves}.layout.xaxis.range") == [2, 5]
                assert search.input_value() == "val/loss>0"
                assert page.evaluate("scrollY") > 300
            finally:
                os.kill(sweep.pid, signal.SIGKILL)
        wait_until(page, "/stopped|killed/i.test(document.querySelector('.kicker').innerText)")


def test_killed_run_is_marked(browser, workdir):
    (workdir.path / "runs").mkdir()
    run = workdir.path / "runs/run"
    with start_server(workdir) as server, live_browser(browser, server) as live:
        index = live.open("/")
        args = ["epochs=1000", "width=256", f"hydra.run.dir={run}", "tracking=disabled"]
        with workdir.start(TRAIN_SCRIPT, *args) as process:
            try:
                wait_for_file(run / "history.jsonl")
                page = live.open("/page/run")
                status = index.locator("#table-index .status")
                status.get_by_text("running").wait_for()
            finally:
                process.kill()
        status.get_by_text("killed").wait_for()
        page.locator(".masthead").get_by_text(re.compile("killed")).first.wait_for()


@pytest.mark.soak
def test_page_continues_after_the_server_was_started_again(browser, workdir):
    sweep_dir = make_sweep(workdir.path / "runs/first", 2)
    with start_server(workdir) as server:
        context = browser.new_context()
        live = LiveBrowser(context, server)
        page = live.open("/")
        notice = page.locator(".notice.live")
        assert not notice.is_visible()
        shutil.rmtree(sweep_dir)
        make_sweep(workdir.path / "runs/second", 2)
        page.get_by_role("link", name="second").wait_for()
        assert page.get_by_role("link", name="first").count() == 0
    notice.get_by_text(f"start it again with --port={server.port}").wait_for()
    make_sweep(workdir.path / "runs/third", 2)
    with start_server(workdir, "--port", str(server.port)) as restarted:
        notice.get_by_text("was restarted").wait_for()
        LiveBrowser(context, restarted)
        page.get_by_role("link", name="third").wait_for()
        assert not notice.is_visible()
        context.close()


@pytest.mark.soak
def test_page_of_a_deleted_run_says_so(browser, workdir):
    sweep_dir = make_sweep(workdir.path / "runs/sweep", 3)
    with start_server(workdir) as server, live_browser(browser, server) as live:
        page = live.open("/page/sweep")
        sweep_dir.rename(workdir.path / "elsewhere")
        page.get_by_text("sweep: no such run, sweep or directory.").wait_for()
        assert page.locator("#table-trials tbody tr").count() == 3
        (workdir.path / "elsewhere").rename(sweep_dir)
        page.locator(".notice.live").wait_for(state="hidden")


def test_page_that_cannot_be_built_says_why_once(browser, workdir):
    sweep_dir = make_sweep(workdir.path / "runs/sweep", 1)
    (sweep_dir / "sweep.yaml").write_text("[")
    with start_server(workdir) as server:
        context = browser.new_context()
        page = LiveBrowser(context, server).open("/page/sweep")
        assert page.get_by_text("sweep.yaml").count() == 1
        context.close()
