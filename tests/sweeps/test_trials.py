from __future__ import annotations

from pathlib import Path

import pytest

from nn.sweeps.schema import parse
from nn.sweeps.search import Search

PARAMETERS = {
    "lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.5},
    "depth": {"values": [1, 2, 3]},
    "model.hidden": {"values": [[64], [64, 32]]},
    "width": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16},
    "keep": {"value": "last"},
}


def trials(folder, method="random", parameters=PARAMETERS):
    folder.mkdir(exist_ok=True)
    content = {"method": method, "metric": {"name": "val/loss"}, "parameters": parameters}
    return Search(parse(content, Path("sweep.yaml")), folder, 0)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_study_that_was_cut_off_at_any_line_goes_on_with_the_same_points(tmp_path, method):
    whole = trials(tmp_path / "whole", method)
    for number in range(3):
        assert whole.begin(None) == number
        if number != 1:
            whole.end(number, "failed")
    expected = [whole.point(number) for number in range(3)]
    lines = (tmp_path / "whole/study.log").read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "study.log").write_bytes(b"".join(lines[:count]))
        again = trials(folder, method)
        for number in again.take_up():
            assert again.point(number).keys() == expected[number].keys()
        while len(again.all) < 3:
            again.begin(None)
        if method == "random":
            assert [again.point(number) for number in range(3)] == expected


def test_points_keep_their_types(tmp_path):
    some = trials(tmp_path / "study")
    for number in range(8):
        point = some.point(some.begin(None))
        assert isinstance(point["lr"], float)
        assert isinstance(point["depth"], int)
        assert point["model.hidden"] in ([64], [64, 32])
        assert point["width"] in (16, 32, 48, 64)
        assert isinstance(point["width"], int)
        assert point["keep"] == "last"
        assert number + 1 == len(some.all)


def test_a_space_of_points_is_used_up_before_one_comes_again(tmp_path):
    few = {"depth": {"values": [1, 2, 3]}, "width": {"values": [32, 64]}}
    some = trials(tmp_path / "study", parameters=few)
    points = [tuple(some.point(some.begin(None)).values()) for _ in range(7)]
    assert len(set(points[:6])) == 6


def test_a_trial_that_another_took_over_is_told_once(tmp_path):
    first = trials(tmp_path / "study")
    number = first.begin(None)
    other = trials(tmp_path / "study")
    assert other.take_up() == [number]
    first.end(number, "failed", "too late")
    assert [trial.state.name for trial in other.all] == ["RUNNING"]
    other.end(number, "diverged", "in time")
    first.refresh()
    assert first.all[number].user_attrs["reason"] == "in time"


def test_no_more_trials_begin_than_are_wanted(tmp_path):
    some = trials(tmp_path / "study")
    assert [some.begin(2) for _ in range(3)] == [0, 1, None]
