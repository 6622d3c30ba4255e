"""Machines that share a sweep: who is at work, and whose trials are to be taken up.

Each raises a counter of its own now and then. Who has not raised it for long, by the clock of
whoever looks, is gone; so the machines' clocks need not agree.
"""

from __future__ import annotations

import platform
import secrets
import time

from optuna.study import Study

BEATS = 6
"""How often a machine shows that it lives, within the time after which it counts as gone."""


class Machines:
    """What this machine knows of the others; without a grace there are none."""

    def __init__(self, study: Study, grace: float | None) -> None:
        self.study, self.grace = study, grace or 0.0
        self.alone = grace is None
        self.me = f"{platform.node()}-{secrets.token_hex(4)}"
        self._beats, self._beaten = 0, -self.grace
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked = time.monotonic()

    def beat(self) -> None:
        """Show that this machine lives."""
        now = time.monotonic()
        if not self.alone and now - self._beaten >= self.grace / BEATS:
            self._beats, self._beaten = self._beats + 1, now
            self.study.set_user_attr(_key(self.me), self._beats)

    def look(self) -> None:
        """Note which counters have changed; whoever was away has missed nothing."""
        now, told = time.monotonic(), self.study.user_attrs
        away = now - self._looked > self.grace / 2
        self._looked = now
        for name in {key for key in told if key.startswith(_key(""))} | self._seen.keys():
            beat = told.get(name, 0)
            before = self._seen.get(name)
            if before is None or before[0] != beat or away:
                self._seen[name] = beat, now

    def gone(self, machine: str | None) -> bool:
        """Whether a machine counts as gone; no machine's trials are there to be taken at once."""
        if self.alone or not machine:
            return True
        known = self._seen.setdefault(_key(machine), (0, self._looked))
        return self._looked - known[1] > self.grace


def _key(machine: str) -> str:
    return f"beat {machine}"
