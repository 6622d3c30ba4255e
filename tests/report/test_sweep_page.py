"""The page of a sweep shows all its trials, whatever their state."""

from __future__ import annotations

import shutil
from copy import copy
from datetime import timedelta
from itertools import pairwise

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.sweep_data import SweepData
from nn.sweeps.schema import read_sweep_config
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials import STUDY_NAME, SweepTrials
from tests.directory_snapshot import assert_unchanged
from tests.report.factories import SWEEP_CONFIG, make_run, make_sweep, update_json
from tests.report.report_page import ReportPage

YAML_BOMB = "\n".join(
    [
        "a: &a [x, x, x]",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefgh")),
    ]
).encode()
TRIAL_STATES = ("finished", "finished", "pruned", "failed", "diverged", "finished", "running")


def build_page(folder, pages=None, output=None):
    build_report(ReportOptions([folder], output, False, pages, None))
    return ReportPage(output or folder / "report.html")


@pytest.fixture(scope="module")
def sweep_dir(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("sweep_dir") / "s", 28, states=TRIAL_STATES)


def test_table_matches_the_trials(sweep_dir, tmp_path):
    page, study = build_page(sweep_dir, output=tmp_path / "page.html"), SweepTrials.load(sweep_dir)
    rows = page.table_rows("trials-table")
    ranked = [trial.number for trial in study.rank_trials()]
    assert [int(row[1]) for row in rows[: len(ranked)]] == ranked
    for row, number in zip(rows, ranked, strict=False):
        trial = study.trials[number]
        assert float(row[2]) == trial.user_attrs["objective"]
        assert set(map(str, study.get_point(number).values())) <= set(row)
    assert len(rows) == len(study.trials)
    assert page.key_figures["Best val/loss"] == study.rank_trials()[0].user_attrs["objective"]
    assert page.key_figures["Pruned trials"] == 4


def test_charts_contain_the_right_trials(sweep_dir, tmp_path):
    page = build_page(sweep_dir, output=tmp_path / "page.html")
    scored = len(SweepTrials.load(sweep_dir).rank_trials())
    assert {"parallel", "importance", "best-trials", "best-time", "curves", "timeline"} < set(
        page.charts
    )
    (lines,) = page.charts["parallel"]["traces"]
    assert {len(axis["values"]) for axis in lines["dimensions"]} == {scored}
    assert page.charts["parallel"]["brushes"]["table"] == "trials-table"
    assert sum("by-" in name for name in page.charts) == 3
    pruned = [
        each for each in page.charts["by-0"]["traces"] if "pruned" in str(each.get("hovertext"))
    ]
    assert pruned[0]["marker"]["symbol"] == "circle-open"
    assert "out of <b>memory</b>" in page.text


def test_reading_a_sweep_writes_nothing(sweep_dir):
    with assert_unchanged(sweep_dir):
        SweepData(sweep_dir)


def test_read_only_or_truncated_sweep_is_readable(sweep_dir, tmp_path):
    file = sweep_dir / "study.log"
    original = file.read_bytes()
    try:
        file.write_bytes(original[:-10])
        sweep_dir.chmod(0o500)
        assert len(SweepData(sweep_dir).trials) == 28
    finally:
        sweep_dir.chmod(0o700)
        file.write_bytes(original)


@pytest.mark.parametrize(
    ("trials", "states", "message"),
    [
        (1, ("finished",), "1 trial."),
        (1, ("running",), "none has reported val/loss yet"),
        (3, ("failed",), "3 trials failed: out of <b>memory</b>"),
        (2, ("finished",), "four finished trials"),
        (9, ("pruned",), "9 trials over"),
    ],
)
def test_sweeps_with_few_or_no_finished_trials_are_described(tmp_path, trials, states, message):
    page = build_page(make_sweep(tmp_path / "s", trials, states=states))
    assert message in page.text
    assert len(page.table_rows("trials-table")) == trials


def test_sweep_without_trials_has_a_page(tmp_path):
    assert "0 trials" in build_page(make_sweep(tmp_path / "s", 0)).text


def test_sweep_without_a_metric_is_ranked_by_validation_accuracy(tmp_path):
    content = {key: value for key, value in SWEEP_CONFIG.items() if key != "metric"}
    page = build_page(make_sweep(tmp_path / "s", 8, sweep_config=content))
    assert "This sweep defines no metric" in page.text
    assert "parallel" in page.charts
    assert "Best val/accuracy" in page.key_figures


def test_best_trials_get_pages_linked_both_ways(tmp_path):
    folder = make_sweep(tmp_path / "s", 5)
    for trial in SweepData(folder).ranked_trials[:2]:
        history = (trial.folder / "history.jsonl").read_bytes()
        for file in trial.folder.iterdir():
            file.unlink()
        make_run(trial.folder, "epochs=1")
        (trial.folder / "history.jsonl").write_bytes(history)
    page = build_page(folder, pages=2)
    best = SweepData(folder).ranked_trials[:2]
    for trial in best:
        place = trial.folder.relative_to(folder)
        assert f'href="{place}/report.html"' in page.html
        assert 'href="../../report.html"' in (trial.folder / "report.html").read_text()
    assert page.html.count("/report.html") == 2


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
    assert len(build_page(folder).table_rows("trials-table")) == 4


def test_accuracies_of_the_best_trial_are_shown(tmp_path):
    folder = make_sweep(tmp_path / "s", 6)
    for trial in SweepData(folder).trials:
        update_json(trial.folder, "summary.json", **{"val/accuracy": 0.5 + trial.number / 100})
    page, best = build_page(folder), SweepData(folder).best_trial
    assert page.key_figures["Validation accuracy of best trial"] == 0.5 + best.number / 100
    assert page.key_figures["Test accuracy of best trial"] == best.test_accuracy
    for row in page.table_rows("trials-table"):
        assert str(0.5 + int(row[1]) / 100) in row


@pytest.mark.parametrize(("trials", "few"), [(8, True), (36, False)])
def test_importance_states_its_number_of_trials(tmp_path, trials, few):
    page = build_page(make_sweep(tmp_path / "s", trials))
    assert f"(fANOVA, {trials} finished trials)" in page.text
    assert f"over {trials} finished trials" in page.text
    assert ("treat it as a hint" in page.text) == few


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
    ends = [trace["base"][-1] + trace["x"][-1] for trace in page.charts["timeline"]["traces"]]
    assert 0 < line["x0"] < max(ends)
    assert max(page.charts["best-time"]["traces"][-1]["x"]) == pytest.approx(max(ends), abs=0.01)


def test_failure_reasons_use_paths_relative_to_the_sweep(tmp_path):
    folder = make_sweep(tmp_path / "s", 1)
    study = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)
    study.ask(None)
    study.tell(1, "failed", f"{folder}/trials/0001 already holds a run; name another folder.")
    text = build_page(folder).text
    assert "1 trial failed: trials/0001 already holds a run" in text
