from __future__ import annotations

import time

import pytest
import sqlalchemy

from nn.sweeps import storage
from nn.sweeps.storage import Database


def test_a_machine_that_is_suspended_in_its_turn_loses_it(postgres, monkeypatch):
    suspended, other = Database(postgres.url), Database(postgres.url)
    monkeypatch.setitem(storage.TURN, "idle_in_transaction_session_timeout", "1s")
    began = time.monotonic()
    with pytest.raises(sqlalchemy.exc.DBAPIError), suspended.turn(), other.turn():
        assert time.monotonic() - began < 30
