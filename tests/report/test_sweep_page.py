"""The page of a sweep shows all its trials, whatever their state."""

from __future__ import annotations

import math
import shutil
from copy import copy
from datetime import timedelta
from itertools import pairwise

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nn.errors import UserError
from nn.io.files import file_lock
from nn.report.data.points import TrialRecord
from nn.report.data.sweep import SweepReader
from nn.report.pages.sweep import build_sweep_page
from nn.sweeps.schema import read_sweep_config
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials import STUDY_NAME
from nn.sweeps.trials_reader import load_sweep_trials
from tests.directory_snapshot import assert_unchanged
from tests.report.factories import (
    SWEEP_CONFIG,
    XSS_STRING,
    make_sweep,
    pause_trial,
    update_json,
)
from tests.report.report_page import ReportPage

YAML_BOMB = "\n".join(
    [
        "a: &a [x, x, x]",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefgh")),
    ]
).encode()
MAXIMIZED = SWEEP_CONFIG | {"metric": {"name": "val/loss", "goal": "maximize"}}
TRIAL_STATES = ("finished", "finished", "pruned", "failed", "diverged", "finished", "running")


def build_page(folder, page_url=lambda folder: None):
    """Build the page of a sweep and read it back."""
    return ReportPage(build_sweep_page(SweepReader(folder), page_url))


def table_rows(page):
    """Return the rows of the table of trials as dictionaries."""
    head, rows = page.payload["tables"]["trials"]
    keys = [column["key"] for column in head["columns"]]
    return [dict(zip(keys, row[0], strict=True)) for row in rows.values()]


@pytest.fixture(scope="module")
def sweep_dir(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("sweep_dir") / "s", 28, states=TRIAL_STATES)


def test_table_matches_the_trials(sweep_dir):
    page, study = build_page(sweep_dir), load_sweep_trials(sweep_dir)
    rows = table_rows(page)
    ranked = [trial.number for trial in study.rank_trials()]
    assert [row["trial"] for row in rows[: len(ranked)]] == [[f"trial {n}", None] for n in ranked]
    assert [row["rank"] for row in rows[: len(ranked)]] == list(range(1, len(ranked) + 1))
    for row, number in zip(rows, ranked, strict=False):
        trial = study.trials[number]
        assert row["objective"] == pytest.approx(trial.user_attrs["objective"], rel=1e-9)
        for name, value in study.get_point(number).items():
            assert row[name] == (pytest.approx(value, rel=1e-9) if name == "lr" else value)
        assert (row["state"], row["directory"]) == (
            trial.user_attrs["status"],
            f"trials/{number:04}",
        )
    assert len(rows) == len(study.trials)
    assert page.key_figures["Best val/loss"] == study.rank_trials()[0].user_attrs["objective"]
    assert page.key_figures["Pruned trials"] == 4


def test_charts_contain_the_right_trials(sweep_dir):
    page, trials = build_page(sweep_dir), SweepReader(sweep_dir).trial_records()
    scored = [trial for trial in trials if trial["value"] is not None]
    assert set(page.charts) == {
        "parallel", "importance", "best-trials", "best-time", "by-0", "by-1", "by-2", "curves",
        "timeline",
    }  # fmt: skip
    (lines,) = page.charts["parallel"]["data"]
    assert {len(axis["values"]) for axis in lines["dimensions"]} == {len(scored)}
    assert page.charts["parallel"]["rows"] == [[trial["number"]] for trial in scored]
    assert lines["line"]["color"].index(max(lines["line"]["color"])) == min(
        range(len(scored)), key=lambda index: scored[index]["rank"]
    )
    for name in ("best-trials", "by-0", "by-1", "by-2"):
        *states, line_or_ring = page.charts[name]["data"]
        drawn = {
            number: value
            for trace in states
            for number, value in zip(trace["customdata"], trace["y"], strict=True)
        }
        assert drawn == pytest.approx({trial["number"]: trial["value"] for trial in scored})
        assert line_or_ring["y"][-1] == pytest.approx(min(drawn.values()))
    (pruned,) = [each for each in page.charts["by-0"]["data"] if "pruned" in str(each)]
    assert pruned["marker"]["symbol"] == "circle-open"
    assert "out of <b>memory</b>" in page.text


def test_ticks_of_an_axis_have_different_texts(sweep_dir):
    (lines,) = build_page(sweep_dir).charts["parallel"]["data"]
    labels = [axis["label"] for axis in lines["dimensions"]]
    ticks = lines["dimensions"][labels.index("lr")]["ticktext"]
    assert len(set(ticks)) == len(ticks) > 80
    shown = [text.strip("\u200b\u200c") for text in ticks]
    assert 2 <= sum(map(bool, shown)) <= 6


def test_learning_curves_can_be_compared_and_trials_repeated(sweep_dir):
    page, trials = build_page(sweep_dir), SweepReader(sweep_dir).trial_records()
    head, rows = page.payload["tables"]["trials"]
    assert head["isExplorable"]
    assert head["brushedBy"] == "parallel"
    for trial in trials:
        curves = rows[str(trial["number"])][1]
        assert curves["epoch"] == trial["epochs"]
        assert curves["seconds"] == pytest.approx(
            [0.1 * epoch for epoch in trial["epochs"]], rel=1e-3
        )
        assert curves["val/loss"] == pytest.approx(trial["curve"], rel=1e-4)
    for row in table_rows(page):
        if row["state"] == "finished":
            assert row["command"].endswith(f"/{row['directory']}")
            assert "train.py reproduce=" in row["command"]
        else:
            assert row["command"] is None


def test_constant_parameters_are_hidden_columns(tmp_path):
    config = SWEEP_CONFIG | {"parameters": SWEEP_CONFIG["parameters"] | {"epochs": {"value": 6}}}
    page = build_page(make_sweep(tmp_path / "s", 5, sweep_config=config))
    columns = {column["key"]: column for column in page.payload["tables"]["trials"][0]["columns"]}
    assert not columns["epochs"]["is_shown"]
    assert columns["lr"]["is_shown"]
    assert {row["epochs"] for row in table_rows(page)} == {6}
    assert "epochs" not in [
        axis["label"] for axis in page.charts["parallel"]["data"][0]["dimensions"]
    ]


def test_reading_a_sweep_writes_nothing(sweep_dir):
    with assert_unchanged(sweep_dir):
        build_page(sweep_dir)


def test_read_only_or_truncated_sweep_is_readable(sweep_dir, tmp_path):
    file = sweep_dir / "study.log"
    original = file.read_bytes()
    try:
        file.write_bytes(original[:-10])
        sweep_dir.chmod(0o500)
        assert len(SweepReader(sweep_dir).trial_records()) == 28
    finally:
        sweep_dir.chmod(0o700)
        file.write_bytes(original)


@pytest.mark.parametrize(
    ("trials", "states", "message"),
    [
        (1, ("finished",), "1 trial."),
        (1, ("running",), "none has reported val/loss yet"),
        (3, ("failed",), "3 trials failed: out of <b>memory</b>"),
        (2, ("finished",), "four finished points"),
        (9, ("pruned",), "9 trials over"),
    ],
)
def test_sweeps_with_few_or_no_finished_trials_are_described(tmp_path, trials, states, message):
    page = build_page(make_sweep(tmp_path / "s", trials, states=states))
    assert message in page.text
    assert len(table_rows(page)) == trials


def test_sweep_without_trials_has_a_page(tmp_path):
    assert "0 trials" in build_page(make_sweep(tmp_path / "s", 0)).text


def test_sweep_without_a_metric_is_ranked_by_validation_accuracy(tmp_path):
    content = {key: value for key, value in SWEEP_CONFIG.items() if key != "metric"}
    page = build_page(make_sweep(tmp_path / "s", 8, sweep_config=content))
    assert "This sweep defines no metric" in page.text
    assert "parallel" in page.charts
    assert "Best val/accuracy" in page.key_figures


def test_trials_that_have_a_page_are_linked(tmp_path):
    folder = make_sweep(tmp_path / "s", 5)
    urls = {folder / "trials/0003": "trials/0003/report.html"}
    links = [row["trial"] for row in table_rows(build_page(folder, urls.get))]
    assert sorted(links) == [[f"trial {n}", urls.get(folder / f"trials/{n:04}")] for n in range(5)]


def test_a_sweep_whose_process_is_gone_is_stopped(tmp_path):
    page = build_page(make_sweep(tmp_path / "s", 6, states=("finished", "running")))
    assert "Sweep · stopped" in page.text
    assert "The sweep was stopped" in page.text
    assert "Trials without a result: 3 killed" in page.text
    assert page.key_figures["Killed trials"] == 3


def test_paused_trials_count_with_their_value_so_far_after_those_that_have_ended(tmp_path):
    states = ("finished", "finished", "paused", "paused", "pruned")
    # the values so far of half of the trials are the best of all
    folder = make_sweep(tmp_path / "s", 20, states=states, sweep_config=MAXIMIZED)
    study, reader = load_sweep_trials(folder), SweepReader(folder)
    page, trials = build_page(folder), reader.trial_records()
    assert reader.status == "finished"
    assert page.key_figures["Paused trials"] == 8
    assert page.key_figures["Best val/loss"] == max(
        trial["value"] for trial in trials if trial["status"] != "paused"
    )
    assert "8 trials are paused, with the best value so far: 8 after 2 epochs." in page.text
    assert "Open squares are paused trials with their best value so far." in page.text
    assert "Trials without a result" not in page.text
    rows = table_rows(page)
    assert [row["trial"][0] for row in rows] == [
        f"trial {trial.number}" for trial in study.rank_trials()
    ]
    assert [row["state"] == "paused" for row in rows] == [False] * 12 + [True] * 8
    for row in rows:
        trial = trials[int(row["trial"][0].removeprefix("trial "))]
        assert row["num_epochs"] == (6 if row["state"] == "finished" else 2)
        assert row["objective"] == pytest.approx(max(trial["curve"]))
        assert row["command"] is None or row["state"] == "finished"
    for name in ("best-trials", "by-0"):
        (paused,) = (it for it in page.charts[name]["data"] if ", paused" in str(it))
        assert paused["marker"]["symbol"] == "square-open"
        assert len(paused["y"]) == 8
        assert all(text.startswith("2 epochs: ") for text in paused["hovertext"])
    assert len(page.charts["parallel"]["rows"]) == 20
    assert reader.details()["num_importance_trials"] == 8  # the finished ones


def test_promoted_trial_is_running_until_it_is_paused_again(tmp_path):
    folder = make_sweep(tmp_path / "s", 4, states=("finished", "paused"))
    study, reader = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0), None
    summary = folder / "trials/0001/summary.json"
    content, value = summary.read_text(), study.trials[1].user_attrs["objective"]

    def read_status():
        nonlocal reader
        if reader is None:
            reader = SweepReader(folder)
        reader.update()
        assert reader.trials[1]["value"] == value
        fresh = SweepReader(folder)
        assert fresh.trials == reader.trials
        return reader.trials[1]["status"], reader.status

    assert read_status() == ("paused", "finished")
    with file_lock(folder / ".lock"):
        assert read_status() == ("paused", "running")
        study._claim_trial(1)
        assert read_status() == ("paused", "running")  # it waits for a worker
        summary.unlink()
        assert read_status() == ("running", "running")
    assert read_status() == ("killed", "stopped")
    summary.write_text(content)
    pause_trial(study, 1, 2)
    assert read_status() == ("paused", "finished")


def test_paused_trial_of_a_study_elsewhere_is_read_from_its_directory(tmp_path):
    folder = make_sweep(tmp_path / "s", 2, states=("paused",))
    (folder / "study.log").unlink()
    trials = SweepReader(folder).trials
    assert [trial["status"] for trial in trials.values()] == ["paused", "paused"]
    assert all(trial["value"] == min(trial["curve"]) for trial in trials.values())


def test_points_whose_trials_are_paused_come_after_those_with_results(tmp_path):
    finished = load_sweep_trials(make_sweep(tmp_path / "finished", 6, replicates=2))
    numbers = {trial.number for trial in finished.points[0].trials.values()}
    states = ["paused" if number in numbers else "finished" for number in range(12)]
    folder = make_sweep(tmp_path / "s", 6, states=states, replicates=2)
    points = SweepReader(folder).point_records()
    estimated = [ranked.point.number for ranked in load_sweep_trials(folder).rank_points()]
    ranked = sorted((p for p in points if p["rank"]), key=lambda point: point["rank"])
    assert [point["number"] for point in ranked] == [*estimated, 0]
    assert points[0]["standard_error"] is None
    build_page(folder)


@pytest.mark.parametrize(
    ("changes", "count", "total"),
    [
        ({}, None, None),
        ({}, 40, 40),
        ({"run_cap": 50}, None, 50),
        ({"run_cap": 50}, 40, 40),
        ({"run_cap": 50}, -1, 50),
        ({"run_cap": 50}, "many", 50),
        ({"method": "grid", "parameters": {"lr": {"values": [0.1, 0.2, 0.3, 0.4, 0.5]}}}, 40, 5),
    ],
)
def test_progress_is_shown_until_the_sweep_has_finished(tmp_path, changes, count, total):
    config = {**SWEEP_CONFIG, **changes}
    folder = make_sweep(tmp_path / "s", 4, sweep_config=config, states=("finished", "running"))
    update_json(folder, "settings.json", max_trials=count)
    assert SweepReader(folder).record()["max_trials"] == total
    assert (f"2 of {total}" in build_page(folder).text) is (total is not None)
    finished = make_sweep(tmp_path / "finished", 4, sweep_config=config)
    assert "Trials done" not in build_page(finished).key_figures


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study.log", b"[]\n", "study.log is damaged"),
        ("study.log", b'{"op_code": 5}\n', "study.log is damaged"),
        ("study.log", b"\xff\n", "study.log is damaged"),
        ("sweep.yaml", b"method: guess\n", "sweep.yaml: "),
        ("sweep.yaml", YAML_BOMB, "more than 100,000 values"),
    ],
)
def test_damaged_sweep_raises_a_one_line_error(tmp_path, name, content, message):
    folder = make_sweep(tmp_path / "s", 2)
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build_page(folder)


def test_trial_with_damaged_files_is_still_listed(tmp_path):
    folder = make_sweep(tmp_path / "s", 4)
    (folder / "trials/0001/history.jsonl").write_bytes(b"\xff{")
    (folder / "trials/0002/summary.json").write_bytes(b"[1]")
    assert len(table_rows(build_page(folder))) == 4


def test_scores_of_trials_are_shown(tmp_path):
    folder = make_sweep(tmp_path / "s", 6)
    for number in range(6):
        scores = {"val/accuracy": 0.5 + number / 100, "val/loss": 0.25 + number, "test/loss": 7.5}
        update_json(folder / f"trials/{number:04}", "summary.json", **scores)
    page = build_page(folder)
    (best,) = [each for each in SweepReader(folder).trial_records() if each["rank"] == 1]
    assert page.key_figures["Validation accuracy of best trial"] == 0.5 + best["number"] / 100
    assert page.key_figures["Test accuracy of best trial"] == best["scores"]["test/accuracy"]
    for row in table_rows(page):
        number = int(row["trial"][0].removeprefix("trial "))
        assert row["val/accuracy"] == 0.5 + number / 100
        assert (row["val/loss"], row["test/loss"]) == (0.25 + number, 7.5)


@pytest.mark.parametrize(("trials", "few"), [(8, True), (36, False)])
def test_importance_states_its_number_of_trials(tmp_path, trials, few):
    page = build_page(make_sweep(tmp_path / "s", trials))
    assert f"(fANOVA, {trials} finished points)" in page.text
    assert f"over {trials} finished points" in page.text
    assert ("treat it as a hint" in page.text) == few


def test_settings_that_replaced_values_of_the_file_are_shown(tmp_path):
    folder = make_sweep(tmp_path / "s", 2)
    assert "replaced their values" not in build_page(folder).text
    update_json(folder, "settings.json", overrides=["epochs=5"], constants={"epochs": 5})
    page = build_page(folder)
    assert "replaced their values in the file:" in page.text
    assert "epochs 5" in page.text


def test_running_time_excludes_pauses(tmp_path):
    folder = make_sweep(tmp_path / "s", 6)
    before = build_page(folder).key_figures["Running time"]
    study = optuna.load_study(
        study_name=STUDY_NAME, storage=JournalStorage(JournalFileBackend(str(folder / "study.log")))
    )
    last = study.trials[-1]
    began = last.datetime_complete + timedelta(hours=1)
    first = [last.datetime_complete + timedelta(seconds=1), began - timedelta(minutes=30)]
    second = [began, began + timedelta(seconds=3)]
    for place in (first, second):
        later = copy(last)
        later.datetime_start, later.datetime_complete = place[0], began + timedelta(seconds=3)
        study.add_trial(later)
        number = len(study.trials) - 1
        shutil.copytree(folder / "trials/0005", folder / f"trials/{number:04}")
    worked = [[moment.astimezone().isoformat() for moment in each] for each in (first, second)]
    update_json(folder / "trials/0006", "summary.json", sessions=worked)

    page = build_page(folder)
    assert page.key_figures["Running time"] == pytest.approx(before + 1 + 1799 + 3, abs=0.1)
    assert "The sweep was paused once, for 30 min 0 s in total" in page.text
    (line,) = page.charts["timeline"]["layout"]["shapes"]
    ends = [trace["base"][-1] + trace["x"][-1] for trace in page.charts["timeline"]["data"]]
    assert 0 < line["x0"] < max(ends)
    assert max(page.charts["best-time"]["data"][-1]["x"]) == pytest.approx(max(ends), abs=0.01)


def test_failure_reasons_use_paths_relative_to_the_sweep(tmp_path):
    folder = make_sweep(tmp_path / "s", 1)
    study = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)
    study.ask()
    study.tell(1, "failed", f"{folder}/trials/0001 already holds a run; name another folder.")
    text = build_page(folder).text
    assert "1 trial failed: trials/0001 already holds a run" in text


class SyntheticSweep(SweepReader):
    """A sweep of many trials with random values, made from the records of a small one."""

    def __init__(self, folder, num_trials, **changes):
        rng = np.random.default_rng(0)
        reader = SweepReader(folder)
        self.path, self._record, self._details = folder, reader.record(), reader.details()
        self.metric = reader.metric
        self._trials = []
        values = rng.uniform(0.01, 3, num_trials)
        for number, rank in enumerate(np.argsort(np.argsort(values)).tolist()):
            trial: TrialRecord = copy(reader.trial_records()[0])
            trial |= {"number": number, "rank": rank + 1, "value": values[number].item()}
            trial |= {
                "directory": f"trials/{number:04}",
                "params": dict(zip(self.names, rng.uniform(1e-4, 1, 10).tolist(), strict=True)),
                "epochs": list(range(1, 31)),
                "curve": rng.uniform(0.01, 3, 30).tolist(),
                "elapsed_seconds": np.cumsum(rng.uniform(0.01, 3, 30)).tolist(),
                "num_epochs": 30,
            }
            trial |= {key: change(number) for key, change in changes.items()}
            self._trials.append(trial)
        self._record["num_trials"] = num_trials
        self._record["parameters"] = [
            {"name": name, "is_varied": True, "is_log": True} for name in self.names
        ]

    names = tuple(f"model.parameter_{number}" for number in range(10))

    def record(self):
        return self._record

    def trial_records(self):
        return self._trials

    def details(self):
        return self._details


@pytest.mark.parametrize(("num_trials", "max_bytes"), [(1_000, 6e6), (10_000, 20e6)])
def test_pages_of_many_trials_stay_small(sweep_dir, num_trials, max_bytes):
    page = ReportPage(build_sweep_page(SyntheticSweep(sweep_dir, num_trials), lambda folder: None))
    assert len(page.html.encode()) < max_bytes
    assert len(table_rows(page)) == len(page.charts["parallel"]["rows"]) == num_trials
    for name in ("by-0", "best-trials", "curves"):
        assert sum(len(trace["x"]) for trace in page.charts[name]["data"]) <= 15_000
    assert ("an even selection" in page.text) == (num_trials == 10_000)
    points = sum(len(row[1]["epoch"]) for row in page.payload["tables"]["trials"][1].values())
    assert points <= 40_000


@pytest.mark.parametrize(
    "changes",
    [
        {"status": lambda number: XSS_STRING},
        {"value": lambda number: (-1) ** number * 1.7e308},
        {"value": lambda number: 5e-324},
        {"curve": lambda number: [None, 1e308, -1e308], "epochs": lambda number: [-1e9, 0, 1e308]},
        {"params": lambda number: {XSS_STRING: [math.inf, None, {"a": XSS_STRING}]}},
        {"params": lambda number: dict.fromkeys(SyntheticSweep.names, (-1) ** number * math.inf)},
        {"params": lambda number: dict.fromkeys(SyntheticSweep.names, 10.0 ** (number - 300))},
        {"params": lambda number: {}},
        {"intervals": lambda number: [(-1e12 * number, 1e12 * number)]},
        {"training_seconds": lambda number: 1.7e308},
        {"reason": lambda number: XSS_STRING, "directory": lambda number: XSS_STRING},
    ],
)  # fmt: skip
def test_unusual_values_have_a_page(sweep_dir, changes):
    sweep = SyntheticSweep(sweep_dir, 20, **changes)
    sweep.record()["parameters"].append({"name": XSS_STRING, "is_varied": True, "is_log": True})
    page = ReportPage(build_sweep_page(sweep, lambda folder: None))
    assert len(table_rows(page)) == 20
    assert XSS_STRING not in page.html
