from __future__ import annotations

import errno
import os
import subprocess
import sys

import optuna
import pytest
import sqlalchemy
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nn.sweeps import storage
from nn.sweeps.storage import CrashSafeJournalBackend, PostgresStudyStorage
from tests.faulty_disk import raise_disk_full


def study(path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = JournalStorage(CrashSafeJournalBackend(path))
    return optuna.create_study(storage=journal, study_name="s", load_if_exists=True)


def test_torn_last_line_is_dropped_and_the_rest_kept(tmp_path):
    path = tmp_path / "study.log"
    first = study(path)
    first.tell(first.ask().number, 1.0)
    whole = path.read_bytes()
    second = first.ask()
    for length in range(len(whole), len(path.read_bytes())):
        torn = path.with_name("torn.log")
        torn.write_bytes(path.read_bytes()[:length])
        trials = study(torn).get_trials()
        assert trials[0].value == 1.0
        assert len(trials) in (1, second.number + 1)
        study(torn).tell(study(torn).ask().number, 2.0)
        assert study(torn).get_trials()[-1].value == 2.0


def test_crashed_writer_does_not_block_others(tmp_path):
    path = tmp_path / "study.log"
    dying = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nn.sweeps import storage\n"
        "storage.write_at = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "storage.CrashSafeJournalBackend(Path(sys.argv[1])).append_logs([{}])\n"
    )
    subprocess.run([sys.executable, "-c", dying, str(path)], timeout=60)
    assert study(path).ask().number == 0


@pytest.mark.parametrize("can_truncate", [True, False])
def test_write_that_fails_on_a_full_disk_can_be_retried(tmp_path, monkeypatch, can_truncate):
    path = tmp_path / "study.log"
    first = study(path)
    first.ask()
    truncate = os.ftruncate

    def write_half(file, offset, content):
        os.pwrite(file, content[: len(content) // 2], offset)
        if not can_truncate:
            monkeypatch.setattr(os, "ftruncate", refuse)
        raise_disk_full()

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_at", write_half)
        with pytest.raises(OSError, match="No space"):
            first.ask()
    monkeypatch.setattr(os, "ftruncate", truncate)
    assert [trial.number for trial in study(path).get_trials()] == [0]
    first.tell(first.ask().number, 1.0)
    assert [trial.value for trial in study(path).get_trials()] == [None, 1.0]


def test_optuna_can_read_the_journal(tmp_path):
    path = tmp_path / "study.log"
    ours = study(path)
    ours.tell(ours.ask().number, 1.0)
    theirs = JournalStorage(JournalFileBackend(str(path)))
    assert optuna.load_study(storage=theirs, study_name="s").trials[0].value == 1.0


@pytest.fixture
def databases(postgres):
    """Two machines' connections to one database, closed at the end."""
    opened = PostgresStudyStorage(postgres.url), PostgresStudyStorage(postgres.url)
    yield opened
    for each in opened:
        each.optuna_storage.remove_session()
        each.optuna_storage.engine.dispose()
        each._engine.dispose()


def test_suspended_machine_loses_its_lock(databases, monkeypatch):
    suspended, other = databases
    monkeypatch.setitem(storage.LOCK_SETTINGS, "idle_in_transaction_session_timeout", "1s")
    has_other_lock = False
    with pytest.raises(sqlalchemy.exc.DBAPIError), suspended.lock(), other.lock():
        has_other_lock = True
    assert has_other_lock
