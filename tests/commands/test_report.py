"""scripts/report.py writes a page about any directory, or one sentence."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.conftest import ROOT
from tests.loopback import Loopback
from tests.report.made import SWEEP, made_run, made_sweep

REPORT, UPLOAD = str(ROOT / "scripts/report.py"), str(ROOT / "scripts/upload.py")


@pytest.fixture
def runs(workplace):
    made_run(workplace.path / "runs/one")
    made_sweep(workplace.path / "runs/s", 3)
    return workplace


def refused(workplace, *words):
    done = workplace.run(REPORT, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_page_is_written_into_the_folder_and_again_over_itself(runs):
    for _ in range(2):
        done = runs.run(REPORT, "runs/one")
        assert (done.returncode, done.stdout, done.stderr) == (0, "runs/one/report.html\n", "")
    page = (runs.path / "runs/one/report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert len(page) < 15e6


def test_a_sweep_a_folder_of_runs_and_several_runs_have_pages_too(runs):
    made_run(runs.path / "runs/two", "seed=1")
    for words, expected in (
        (["runs/s"], "runs/s/report.html"),
        (["runs"], "runs/report.html"),
        (["runs/one", "runs/two"], "comparison.html"),
        (["runs/one", "--output", "x.html"], "x.html"),
    ):
        done = runs.run(REPORT, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")
        assert (runs.path / expected).stat().st_size > 10_000


@pytest.mark.sampled(1)
@pytest.mark.parametrize("here", ["home/project", "elsewhere"])
def test_a_page_names_no_home_folder(workplace, tmp_path, here):
    home = tmp_path / "home"
    project = workplace.path = home / "project"
    for folder in (project, tmp_path / "elsewhere"):
        folder.mkdir()
    settings = ["epochs=1", f"+tracking.notes={home}/notes"]
    done = workplace.train(*settings, f"hydra.run.dir={project}/runs/one")
    assert done.returncode == 0, done.stderr
    (project / "s.yaml").write_text(yaml.safe_dump(SWEEP | {"description": f"{home}/s"}))
    words = ["s.yaml", "--count=2", "--output", f"{project}/runs/s", "tracking=disabled"]
    done = workplace.run(str(ROOT / "scripts/sweep.py"), *words, *settings)
    assert done.returncode == 0, done.stderr
    workplace.path = tmp_path / here
    pages = []
    for number, folders in enumerate((["one"], ["s"], ["."], ["one", "s/trials/0001"])):
        words = [f"{project}/runs/{each}" for each in folders]
        done = workplace.run(REPORT, *words, "--output", f"{tmp_path}/{number}.html")
        assert done.returncode == 0, done.stderr
        pages.append((tmp_path / f"{number}.html").read_text())
        assert str(home) not in pages[-1]
    shown = "runs/one" if here == "home/project" else "$HOME/project/runs/one"
    assert "python scripts/train.py tracking=disabled epochs=1 " in pages[0]
    assert f"reproduce={shown}" in pages[0]
    assert "~/notes" in pages[0]


def test_the_browser_is_opened_on_demand(runs):
    done = runs.run(REPORT, "runs", "--open", BROWSER="echo opened %s")
    assert f"opened file://{runs.path}/runs/report.html" in done.stdout


def test_pictures_are_written_instead_of_a_page(runs):
    done = runs.run(REPORT, "runs/one", "--png-dir", "pictures")
    assert done.stdout.split() == [
        f"pictures/{name}.png" for name in ("curves", "confusion", "predictions")
    ]
    assert not (runs.path / "runs/one/report.html").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere: no such directory."),
        (["empty"], "empty: no runs or sweeps found."),
        (["runs/one/config.yaml"], "runs/one/config.yaml: no such directory."),
        (["runs/one", "--top-runs", "2"], "--top-runs: requires a single sweep directory."),
        (["runs", "--top-runs", "2"], "--top-runs: requires a single sweep directory."),
        (["runs/one", "runs/one"], "The same run is given twice"),
        (["runs/one", "runs/s"], "runs/s is not a run directory"),
        (["runs/one", "--output", "empty"], "empty: nothing can be written there"),
        (["runs/one", "--output", "no/page.html"], "no/page.html: nothing can be written there"),
        (["runs/one", "--output", "mine.html"], "mine.html: not a generated report"),
        (["runs/one", "--png-dir", "mine.html"], "nothing can be written there"),
        (["runs", "--png-dir", "pictures"], "--png-dir: requires a single run or sweep directory."),
    ],
)
def test_what_cannot_be_done_costs_one_sentence(runs, words, sentence):
    (runs.path / "empty").mkdir()
    (runs.path / "mine.html").write_text("<p>my own page")
    assert sentence in refused(runs, *words)
    assert (runs.path / "mine.html").read_text() == "<p>my own page"


def test_a_damaged_configuration_costs_one_sentence(runs):
    (runs.path / "runs/one/config.yaml").write_text("lr: [")
    assert "config.yaml is damaged" in refused(runs, "runs/one")


def test_a_report_in_w_and_b_is_made_once_and_then_updated(workplace):
    sweep = str(ROOT / "scripts/sweep.py")
    workplace.train("epochs=2", "hydra.run.dir=run")
    done = workplace.run(sweep, str(ROOT / "sweeps/random.yaml"), "--count=4", "tracking=disabled")
    assert done.returncode == 0, done.stderr
    with Loopback() as server:
        sent = workplace.run(UPLOAD, "run", **server.environment, WANDB_PROJECT="digits")
        assert sent.returncode == 0, sent.stderr
        told = []
        for folder in ("run", "run", "runs/sweeps/random"):
            words = [REPORT, folder, "--wandb", "somebody/digits"]
            done = workplace.run(*words, **server.environment)
            assert (done.returncode, done.stderr) == (0, "")
            told.append(done.stdout)
        reports = server.state.reports
    assert told[0] == told[1] != told[2]
    assert all(url.startswith(f"{server.state.url}/somebody/digits/reports/") for url in told)
    run, swept = reports.values()
    assert run.project == swept.project == "digits"
    assert run.content["displayName"].startswith("Run: ")
    assert "ParallelCoordinates" in json.dumps(swept.spec).replace(" ", "")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["run", "--wandb", "digits"], 2, "--wandb digits: write ENTITY/PROJECT"),
        (["run", "--wandb", "a/b"], 2, "--wandb=a/b: no W&B credentials found"),
        (["run", "run", "--wandb", "a/b"], 2, "--wandb: requires a single run or sweep directory."),
    ],
)
def test_a_report_that_cannot_be_made_in_w_and_b_is_told_in_a_sentence(
    workplace, words, status, told
):
    workplace.train("epochs=1", "hydra.run.dir=run")
    done = workplace.run(REPORT, *words)
    assert done.returncode == status
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1


def test_a_report_that_w_and_b_refuses_is_told_in_a_sentence(workplace):
    workplace.train("epochs=1", "hydra.run.dir=run")
    with Loopback() as server:
        server.failing(403, match="upsertView", message="permission denied")
        words = [REPORT, "run", "--wandb", "somebody/digits"]
        done = workplace.run(*words, **server.environment)
    assert done.returncode == 1
    assert done.stderr.startswith("--wandb=somebody/digits: W&B rejected the report: ")
    assert done.stderr.count("\n") == 1
