"""Heartbeats of the machines that share a sweep: trials of a stale machine are reclaimed.

Each machine regularly increments a counter of its own. A machine is stale once its counter has not
changed for the grace period, by the clock of the machine that reads it, so clocks need not agree.
"""

from __future__ import annotations

import platform
import secrets
import time

from optuna.study import Study

BEATS_PER_GRACE_PERIOD = 6
"""Number of heartbeats that a machine records within a grace period."""
MIN_SUSPENSION_SECONDS = 3.0
"""Shortest interval between two reads that counts as a suspension of this machine.

Reads are about a second apart, which must not count as one even if the grace period is short.
"""


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
            self.study.set_user_attr(_heartbeat_key(self.machine_id), self._num_beats)

    def read_heartbeats(self) -> None:
        """Read all counters and note when each of them changed.

        If this machine was suspended, every grace period starts anew: it saw no changes meanwhile.
        """
        now, user_attrs = time.monotonic(), self.study.user_attrs
        was_suspended = now - self._last_check_time > max(
            self.grace_seconds / 2, MIN_SUSPENSION_SECONDS
        )
        self._last_check_time = now
        stored_keys = {key for key in user_attrs if key.startswith(_heartbeat_key(""))}
        for key in stored_keys | self._last_seen.keys():
            num_beats = user_attrs.get(key, 0)
            previous = self._last_seen.get(key)
            if previous is None or previous[0] != num_beats or was_suspended:
                self._last_seen[key] = num_beats, now

    def is_stale(self, machine_id: str | None) -> bool:
        """Return whether a machine's trials may be claimed; those of no machine always may."""
        if self.is_single_machine or not machine_id:
            return True
        _, last_change_time = self._last_seen.setdefault(
            _heartbeat_key(machine_id), (0, self._last_check_time)
        )
        return self._last_check_time - last_change_time > self.grace_seconds


def _heartbeat_key(machine_id: str) -> str:
    return f"beat {machine_id}"
