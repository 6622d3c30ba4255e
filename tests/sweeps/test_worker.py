"""A worker runs the trials that it is sent and ends with its sweep."""

from __future__ import annotations

import json
from multiprocessing import Pipe
from threading import Thread

from nn.sweeps.worker import TrialRequest, serve_requests


def test_trial_of_an_ended_sweep_is_recorded_as_interrupted(tmp_path):
    sweep, line = Pipe()
    worker = Thread(target=serve_requests, args=[line])
    worker.start()
    words = ("tracking=disabled", "model.hidden=[4]", "epochs=100000", "dataset.max_samples=300")
    sweep.send(TrialRequest(0, {}, words, tmp_path / "trial"))
    assert sweep.recv().epoch == 1
    sweep.close()
    worker.join(timeout=60)
    assert json.loads((tmp_path / "trial/summary.json").read_text())["status"] == "interrupted"
