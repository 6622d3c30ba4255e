"""Requests of a live page to steer its sweep."""

from __future__ import annotations

import shlex
import threading
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nn.errors import SaveError, SweepError, UserError
from nn.sweeps.location import SweepLocation
from nn.sweeps.steering import StoredSweep, Verb

MAX_REQUEST_BYTES = 2**16

_lock = threading.Lock()
"""Held while a request is carried out: Hydra composes one configuration at a time."""


class SteeringRequest(BaseModel):
    """A verb of `sweep.py` and its arguments, as one line of shell words."""

    model_config = ConfigDict(extra="forbid", strict=True)
    verb: Verb
    arguments: str = ""


async def steer_sweep(request: Request, sweep_dir: Path) -> Response:
    """Carry out a request and return what happens, or why it is refused, as a message.

    Pages of other servers on this machine get the cookie too, so the origin has to be this one's,
    and a type that browsers do not send to another origin without asking.
    """
    origin = f"{request.url.scheme}://{request.headers.get('host', '')}"
    is_json = request.headers.get("content-type") == "application/json"
    if request.headers.getlist("origin") != [origin] or not is_json:
        raise HTTPException(403, "Only this page may steer its sweep.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise HTTPException(413, f"At most {MAX_REQUEST_BYTES} bytes are accepted.")
    try:
        content = SteeringRequest.model_validate_json(body)
        arguments = shlex.split(content.arguments)
    except (ValidationError, ValueError):
        raise HTTPException(400, "The request is not understood; check its quotes.") from None
    message = await run_in_threadpool(_carry_out, sweep_dir, content.verb, arguments)
    return JSONResponse({"message": message})


def _carry_out(sweep_dir: Path, verb: Verb, arguments: list[str]) -> str:
    try:
        with _lock, closing(StoredSweep(SweepLocation.find(str(sweep_dir), None))) as sweep:
            return "\n".join(sweep.carry_out(verb, arguments))
    except (UserError, SaveError, SweepError) as error:
        return str(error)
