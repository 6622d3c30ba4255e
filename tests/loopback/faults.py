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
    (`POST /files/me/digits/abc/file_stream`). `delay` waits, `drop` breaks the connection,
    and `status` is the response; each alone or combined. With `carried_out` the request
    is executed before its response fails: the data arrived, and the client cannot know.
    """

    match: str = ""
    status: int | None = None
    message: str = "the server was told to fail"
    retry_after: int | None = None
    delay: float = 0.0
    drop: bool = False
    carried_out: bool = False
    times: int | None = None
    seconds: float | None = None
    hits: int = 0
    ended: bool = False
    began: float | None = None

    def strikes(self, label: str) -> bool:
        """Return whether the fault applies to this request, and count it."""
        if self.ended or not re.search(self.match, label):
            return False
        if self.began is None:
            self.began = time.monotonic()
        if self.times is not None and self.hits >= self.times:
            return False
        if self.seconds is not None and time.monotonic() > self.began + self.seconds:
            return False
        self.hits += 1
        return True

    def end(self) -> None:
        self.ended = True

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @property
    def body(self) -> bytes:
        return errors(self.message)


def errors(message: str) -> bytes:
    """Format an error as W&B does."""
    return json.dumps({"errors": [{"message": message}], "data": None}).encode()
