"""scripts/report.py writes a page about any directory, or one sentence."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from tests.conftest import REPORT_SCRIPT, ROOT, SWEEP_SCRIPT, UPLOAD_SCRIPT
from tests.fake_wandb import FakeWandbServer
from tests.report.factories import SWEEP_CONFIG, make_run, make_sweep


@pytest.fixture(scope="module")
def saved_runs(tmp_path_factory):
    """A directory with a run and a sweep."""
    runs = tmp_path_factory.mktemp("saved") / "runs"
    make_run(runs / "one")
    make_sweep(runs / "s", 3)
    return runs


@pytest.fixture
def workdir_with_runs(workdir, saved_runs):
    shutil.copytree(saved_runs, workdir.path / "runs")
    return workdir


def refused_message(workdir, *args):
    result = workdir.run(REPORT_SCRIPT, *args)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_page_is_written_into_the_run_directory_and_can_be_rewritten(workdir_with_runs):
    for _ in range(2):
        result = workdir_with_runs.run(REPORT_SCRIPT, "runs/one")
        assert (result.returncode, result.stdout, result.stderr) == (
            0,
            "runs/one/report.html\n",
            "",
        )
    page = (workdir_with_runs.path / "runs/one/report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert len(page) < 15e6


def test_sweeps_run_folders_and_comparisons_have_pages(workdir_with_runs):
    make_run(workdir_with_runs.path / "runs/two", "seed=1")
    for args, expected in (
        (["runs/s"], "runs/s/report.html"),
        (["runs"], "runs/report.html"),
        (["runs/one", "runs/two"], "comparison.html"),
        (["runs/one", "--output", "x.html"], "x.html"),
    ):
        result = workdir_with_runs.run(REPORT_SCRIPT, *args)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{expected}\n", "")
        assert (workdir_with_runs.path / expected).stat().st_size > 10_000


@pytest.mark.sampled(1)
@pytest.mark.parametrize("here", ["home/project", "elsewhere"])
def test_page_does_not_contain_the_home_directory(workdir, tmp_path, here):
    home = tmp_path / "home"
    project = workdir.path = home / "project"
    for folder in (project, tmp_path / "elsewhere"):
        folder.mkdir()
    settings = ["epochs=1", f"+tracking.notes={home}/notes"]
    result = workdir.train(*settings, f"hydra.run.dir={project}/runs/one")
    assert result.returncode == 0, result.stderr
    (project / "s.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG | {"description": f"{home}/s"}))
    args = ["s.yaml", "--count=2", "--output", f"{project}/runs/s", "tracking=disabled"]
    result = workdir.run(SWEEP_SCRIPT, *args, *settings)
    assert result.returncode == 0, result.stderr
    workdir.path = tmp_path / here
    pages = []
    for number, folders in enumerate((["one"], ["s"], ["."], ["one", "s/trials/0001"])):
        args = [f"{project}/runs/{each}" for each in folders]
        result = workdir.run(REPORT_SCRIPT, *args, "--output", f"{tmp_path}/{number}.html")
        assert result.returncode == 0, result.stderr
        pages.append((tmp_path / f"{number}.html").read_text())
        assert str(home) not in pages[-1]
    shown_path = "runs/one" if here == "home/project" else "$HOME/project/runs/one"
    assert "python scripts/train.py tracking=disabled epochs=1 " in pages[0]
    assert f"reproduce={shown_path}" in pages[0]
    assert "~/notes" in pages[0]


def test_open_option_opens_the_browser(workdir_with_runs):
    result = workdir_with_runs.run(REPORT_SCRIPT, "runs", "--open", BROWSER="echo opened %s")
    assert f"opened file://{workdir_with_runs.path}/runs/report.html" in result.stdout


def test_png_option_writes_images_instead_of_a_page(workdir_with_runs):
    result = workdir_with_runs.run(REPORT_SCRIPT, "runs/one", "--png-dir", "pictures")
    assert result.stdout.split() == [
        f"pictures/{name}.png" for name in ("curves", "confusion", "predictions")
    ]
    assert not (workdir_with_runs.path / "runs/one/report.html").exists()


def test_table_options_write_tables_instead_of_a_page(workdir_with_runs):
    args = ["--latex", "t.tex", "--csv", "t.csv", "--markdown", "t.md", "--top-runs", "2"]
    for folder, num_rows in (("runs/one", 1), ("runs/s", 2)):
        result = workdir_with_runs.run(REPORT_SCRIPT, folder, *args)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.split() == ["t.tex", "t.csv", "t.md"]
        assert len((workdir_with_runs.path / "t.md").read_text().splitlines()) == 2 + num_rows
        assert not (workdir_with_runs.path / folder / "report.html").exists()


@pytest.mark.parametrize(
    ("args", "message"),
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
        (["runs", "--png-dir", "pictures"], "--png-dir: requires a run, a sweep or several runs."),
        (["runs", "--csv", "runs/one/config.yaml"], "the file's name must end in .csv."),
        (["empty", "--latex", "table.tex"], "empty: no runs with scores found."),
    ],
)
def test_usage_errors_are_one_line(workdir_with_runs, args, message):
    (workdir_with_runs.path / "empty").mkdir()
    (workdir_with_runs.path / "mine.html").write_text("<p>my own page")
    assert message in refused_message(workdir_with_runs, *args)
    assert (workdir_with_runs.path / "mine.html").read_text() == "<p>my own page"


def test_damaged_config_gives_a_one_line_error(workdir_with_runs):
    (workdir_with_runs.path / "runs/one/config.yaml").write_text("lr: [")
    assert "config.yaml is damaged" in refused_message(workdir_with_runs, "runs/one")


def test_wandb_report_is_created_once_and_then_updated(workdir):
    workdir.train("epochs=2", "hydra.run.dir=run")
    args = [str(ROOT / "sweeps/random.yaml"), "--count=2", "tracking=disabled", "epochs=2"]
    result = workdir.run(SWEEP_SCRIPT, *args)
    assert result.returncode == 0, result.stderr
    with FakeWandbServer() as server:
        upload = workdir.run(UPLOAD_SCRIPT, "run", **server.environment, WANDB_PROJECT="digits")
        assert upload.returncode == 0, upload.stderr
        urls = []
        for folder in ("run", "run", "runs/sweeps/random"):
            args = [REPORT_SCRIPT, folder, "--wandb", "somebody/digits"]
            result = workdir.run(*args, **server.environment)
            assert (result.returncode, result.stderr) == (0, "")
            urls.append(result.stdout)
        reports = server.state.reports
    assert urls[0] == urls[1] != urls[2]
    assert all(url.startswith(f"{server.state.url}/somebody/digits/reports/") for url in urls)
    run, sweep_report = reports.values()
    assert run.project == sweep_report.project == "digits"
    assert run.content["displayName"].startswith("Run: ")
    assert "ParallelCoordinates" in json.dumps(sweep_report.spec).replace(" ", "")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["run", "--wandb", "digits"], 2, "--wandb digits: write ENTITY/PROJECT"),
        (["run", "--wandb", "a/b"], 2, "--wandb=a/b: no W&B credentials found"),
        (["run", "run", "--wandb", "a/b"], 2, "--wandb: requires a single run or sweep directory."),
    ],
)
def test_wandb_report_usage_errors_are_one_line(workdir, args, status, message):
    workdir.train("epochs=1", "hydra.run.dir=run")
    result = workdir.run(REPORT_SCRIPT, *args)
    assert result.returncode == status
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_refused_wandb_report_gives_a_one_line_error(workdir):
    workdir.train("epochs=1", "hydra.run.dir=run")
    with FakeWandbServer() as server:
        server.inject_fault(403, match="upsertView", message="permission denied")
        args = [REPORT_SCRIPT, "run", "--wandb", "somebody/digits"]
        result = workdir.run(*args, **server.environment)
    assert result.returncode == 1
    assert result.stderr.startswith("--wandb=somebody/digits: W&B rejected the report: ")
    assert result.stderr.count("\n") == 1
