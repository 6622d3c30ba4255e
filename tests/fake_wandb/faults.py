"""Faults that a test injects into the server."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass


@dataclass
class Fault:
    """A fault for requests whose label matches: a number of times, for a number of seconds from the
    first of them on, or until it is disabled.

    A label is the name of a GraphQL operation (`UpsertBucket`), or method and path
    (`POST /files/me/digits/abc/file_stream`). `delay_seconds` waits, `drop` breaks the connection,
    and `status` is the response; each alone or combined. With `after_execution` the request
    is executed before its response fails: the data arrived, and the client cannot know.
    """

    match: str = ""
    status: int | None = None
    message: str = "the server was told to fail"
    retry_after: int | None = None
    delay_seconds: float = 0.0
    drop: bool = False
    after_execution: bool = False
    max_hits: int | None = None
    duration_seconds: float | None = None
    hits: int = 0
    is_disabled: bool = False
    first_hit_at: float | None = None

    def try_trigger(self, label: str) -> bool:
        """Return whether the fault applies to this request, and count it."""
        if self.is_disabled or not re.search(self.match, label):
            return False
        if self.first_hit_at is None:
            self.first_hit_at = time.monotonic()
        if self.max_hits is not None and self.hits >= self.max_hits:
            return False
        if (
            self.duration_seconds is not None
            and time.monotonic() > self.first_hit_at + self.duration_seconds
        ):
            return False
        self.hits += 1
        return True

    def disable(self) -> None:
        self.is_disabled = True

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.disable()

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @property
    def body(self) -> bytes:
        return error_body(self.message)


def error_body(message: str) -> bytes:
    """Format an error as W&B does."""
    return json.dumps({"errors": [{"message": message}], "data": None}).encode()
