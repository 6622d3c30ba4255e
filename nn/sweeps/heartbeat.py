"""Machines that share a sweep: who is at work, and whose trials are to be taken up.

Each raises a counter of its own now and then. Who has not raised it for long, by the clock of
whoever looks, is gone; so the machines' clocks need not agree.
"""

from __future__ import annotations

import platform
import secrets
import time

from optuna.study import Study

BEATS_PER_GRACE_PERIOD = 6
"""How often a machine shows that it lives, within the time after which it counts as gone."""


MIN_SUSPENSION_SECONDS = 3.0
"""How long no check must have been made for this machine to count as suspended meanwhile."""


class Heartbeat:
    """What this machine knows of the others; without a grace there are none."""

    def __init__(self, study: Study, grace_seconds: float | None) -> None:
        self.study, self.grace_seconds = study, grace_seconds or 0.0
        self.is_single_machine = grace_seconds is None
        self.machine_id = f"{platform.node()}-{secrets.token_hex(4)}"
        self._num_beats, self._last_beat_time = 0, -self.grace_seconds
        self._last_seen: dict[str, tuple[int, float]] = {}
        self._last_check_time = time.monotonic()

    def record_heartbeat(self) -> None:
        """Show that this machine lives."""
        now = time.monotonic()
        if (
            not self.is_single_machine
            and now - self._last_beat_time >= self.grace_seconds / BEATS_PER_GRACE_PERIOD
        ):
            self._num_beats, self._last_beat_time = self._num_beats + 1, now
            self.study.set_user_attr(_heartbeat_key(self.machine_id), self._num_beats)

    def read_heartbeats(self) -> None:
        """Note which counters have changed; whoever was away has missed nothing."""
        now, user_attrs = time.monotonic(), self.study.user_attrs
        was_suspended = now - self._last_check_time > max(
            self.grace_seconds / 2, MIN_SUSPENSION_SECONDS
        )
        self._last_check_time = now
        for name in {
            key for key in user_attrs if key.startswith(_heartbeat_key(""))
        } | self._last_seen.keys():
            num_beats = user_attrs.get(name, 0)
            previous = self._last_seen.get(name)
            if previous is None or previous[0] != num_beats or was_suspended:
                self._last_seen[name] = num_beats, now

    def is_stale(self, machine_id: str | None) -> bool:
        """Whether a machine counts as gone; no machine's trials are there to be taken at once."""
        if self.is_single_machine or not machine_id:
            return True
        last_seen = self._last_seen.setdefault(
            _heartbeat_key(machine_id), (0, self._last_check_time)
        )
        return self._last_check_time - last_seen[1] > self.grace_seconds


def _heartbeat_key(machine_id: str) -> str:
    return f"beat {machine_id}"
