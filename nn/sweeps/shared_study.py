"""A study that several machines share: all run the same sweep and reclaim trials of stale machines.

Each machine regularly increments a counter of its own. A machine is stale once its counter has not
changed for the grace period, by the clock of the machine that reads it, so clocks need not agree.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.study import Study
from pydantic import JsonValue

from nn.errors import UserError
from nn.sweeps import schema
from nn.sweeps.editions import EDITIONS_KEY
from nn.sweeps.schema import SweepConfig
from nn.sweeps.storage import StudyStorage

OPTION_KEYS = ("seed", "sampler", "overrides", "config_dir", "scheduler")
"""Options that must agree in addition to the settings of the sweep file."""
PRIOR_TRIALS_KEY = "prior_trials"
"""Key of the number and digest of the trials of `--warm-start`, which must agree, too."""
COMPARED_KEYS = (*OPTION_KEYS, PRIOR_TRIALS_KEY)
FINAL_KEYS = ("seed", "config_dir", "scheduler", PRIOR_TRIALS_KEY)
"""Settings among them that an edit cannot change."""
BEATS_PER_GRACE_PERIOD = 6
"""Number of heartbeats that a machine records within a grace period."""
MIN_SUSPENSION_SECONDS = 3.0
"""Shortest interval between two reads that counts as a suspension of this machine.

Reads are about a second apart, which must not count as one even if the grace period is short.
"""


@dataclass(frozen=True)
class SharedStudy:
    """Location and configuration of a study that machines share."""

    storage: StudyStorage
    redacted_url: str
    study_name: str
    sweep_config: Mapping[str, JsonValue]
    """The sweep file as JSON, with the values of `COMPARED_KEYS` and without run_cap."""
    grace_seconds: float

    def ensure_same_sweep(self, study: Study) -> None:
        """Record the sweep's configuration in a new study, or check it against the recorded one.

        Raises:
            UserError: The study belongs to another sweep.
        """
        user_attrs = study.user_attrs
        stored_config = user_attrs.get("about")
        if stored_config is not None:
            # the caller compares the rest with the last edition, if there is one
            keys = FINAL_KEYS if EDITIONS_KEY in user_attrs else COMPARED_KEYS
            for change in self._describe_changes(stored_config, keys):
                raise self._mismatch_error(f"another sweep: {change}")
        elif study.get_trials(deepcopy=False):
            raise self._mismatch_error("not a sweep of this program")
        else:
            study.set_user_attr("about", dict(self.sweep_config))

    def _mismatch_error(self, problem: str) -> UserError:
        return UserError(
            f"--storage={self.redacted_url}: {self.study_name} is {problem}; --name=NAME starts a "
            "new one."
        )

    def _describe_changes(
        self, stored_config: Mapping[str, JsonValue], keys: Sequence[str]
    ) -> Iterator[str]:
        """Describe how the sweep in the storage differs from this one."""
        if keys == COMPARED_KEYS:
            sweep, stored_sweep = map(self._parse_sweep, (self.sweep_config, stored_config))
            yield from schema.describe_changes(stored_sweep, sweep).values()
        for key in keys:
            stored_value, value = stored_config.get(key), self.sweep_config.get(key)
            if stored_value != value:
                texts = ("none" if x is None else x for x in (stored_value, value))
                yield f"{key}: {' → '.join(map(str, texts))}"

    def _parse_sweep(self, config: Mapping[str, JsonValue]) -> SweepConfig:
        content = {key: value for key, value in config.items() if key not in COMPARED_KEYS}
        return schema.parse_sweep_config(content, Path(self.study_name))


class Heartbeat:
    """This machine's heartbeat and its view of the heartbeats of other machines.

    Args:
        study: The shared study, whose user attributes hold the counters.
        grace_seconds: The grace period, or None if no other machine shares the study.
    """

    def __init__(self, study: Study, grace_seconds: float | None) -> None:
        self.study, self.grace_seconds = study, grace_seconds or 0.0
        self.is_single_machine = grace_seconds is None
        self.machine_id = f"{platform.node()}-{secrets.token_hex(4)}"
        self.progress: dict[str, list[float | None]] = {}
        """Epoch and value of each trial that runs here, recorded with a heartbeat."""
        self._num_beats, self._last_beat_time = 0, -self.grace_seconds
        self._last_seen: dict[str, tuple[int, float]] = {}  # counter, time of its last change
        self._last_check_time = time.monotonic()

    def record_heartbeat(self) -> None:
        """Increment this machine's counter, unless a heartbeat is not due yet."""
        now = time.monotonic()
        if (
            not self.is_single_machine
            and now - self._last_beat_time >= self.grace_seconds / BEATS_PER_GRACE_PERIOD
        ):
            self._num_beats, self._last_beat_time = self._num_beats + 1, now
            self.study.set_user_attr(heartbeat_key(self.machine_id), self._num_beats)
            if self.progress:
                self.study.set_user_attr(progress_key(self.machine_id), self.progress)

    def read_heartbeats(self) -> None:
        """Read all counters and note when each of them changed.

        If this machine was suspended, every grace period starts anew: it saw no changes meanwhile.
        """
        now, user_attrs = time.monotonic(), self.study.user_attrs
        was_suspended = now - self._last_check_time > max(
            self.grace_seconds / 2, MIN_SUSPENSION_SECONDS
        )
        self._last_check_time = now
        stored_keys = {key for key in user_attrs if key.startswith(heartbeat_key(""))}
        for key in stored_keys | self._last_seen.keys():
            num_beats = user_attrs.get(key, 0)
            previous = self._last_seen.get(key)
            if previous is None or previous[0] != num_beats or was_suspended:
                self._last_seen[key] = num_beats, now

    def is_stale(self, machine_id: str | None) -> bool:
        """Return whether a machine's trials may be claimed; trials of no machine always may."""
        if self.is_single_machine or not machine_id:
            return True
        _, last_change_time = self._last_seen.setdefault(
            heartbeat_key(machine_id), (0, self._last_check_time)
        )
        return self._last_check_time - last_change_time > self.grace_seconds


def progress_key(machine_id: str) -> str:
    """Return the name of the study's attribute with the progress of a machine's trials."""
    return f"progress {machine_id}"


def heartbeat_key(machine_id: str) -> str:
    """Return the name of the study's attribute that counts a machine's heartbeats."""
    return f"beat {machine_id}"
