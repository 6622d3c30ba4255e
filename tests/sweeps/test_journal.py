from __future__ import annotations

import subprocess
import sys

import optuna
from optuna.storages import JournalStorage

from nn.sweeps.journal import journal


def study(path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(journal(path))
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def test_a_torn_last_line_is_dropped_and_the_rest_is_whole(tmp_path):
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


def test_a_process_that_dies_while_it_writes_does_not_keep_the_others_out(tmp_path):
    path = tmp_path / "study.log"
    dying = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nn.sweeps.journal import Lock\n"
        "Lock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", dying, str(tmp_path / ".study.log.lock")], timeout=60)
    assert study(path).ask().number == 0
