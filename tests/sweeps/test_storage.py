from __future__ import annotations

import pytest
import sqlalchemy

from nn.sweeps import storage
from nn.sweeps.storage import PostgresStudyStorage


@pytest.fixture
def databases(postgres):
    """Two machines' connections to one database, closed at the end."""
    opened = PostgresStudyStorage(postgres.url), PostgresStudyStorage(postgres.url)
    yield opened
    for each in opened:
        each.optuna_storage.remove_session()
        each.optuna_storage.engine.dispose()
        each._engine.dispose()


def test_a_machine_that_is_suspended_in_its_turn_loses_it(databases, monkeypatch):
    suspended, other = databases
    monkeypatch.setitem(storage.LOCK_SETTINGS, "idle_in_transaction_session_timeout", "1s")
    has_other_lock = False
    with pytest.raises(sqlalchemy.exc.DBAPIError), suspended.lock(), other.lock():
        has_other_lock = True
    assert has_other_lock
