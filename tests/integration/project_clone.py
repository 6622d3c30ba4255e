"""A fresh clone of the project, with a shell that has everything but internet access."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from nn.data import mnist
from tests.conftest import ROOT
from tests.data.idx_files import make_images_and_labels, to_idx_bytes
from tests.data.mirror_server import MirrorServer
from tests.fake_wandb import WANDB_CLI
from tests.integration.readmes import READMES, read_blocks

TRACKED_PATHS = ("conf", "nn", "scripts", "sweeps", ".github", "README.md", "pyproject.toml")
FAKE_SBATCH = """
import os, re, subprocess, sys
script = sys.argv[-1]
first, last = re.search(r"--array=(\\d+)-(\\d+)", open(script).read()).groups()
for task in range(int(first), int(last) + 1):
    slurm = {
        "ARRAY_JOB_ID": 7, "ARRAY_TASK_ID": task, "JOB_ID": 8 + task, "PROCID": 0, "LOCALID": 0,
        "NTASKS": 1, "JOB_NUM_NODES": 1, "NODEID": 0, "JOB_NODELIST": "here",
    }
    subprocess.Popen(
        ["bash", script],
        env={**os.environ, **{f"SLURM_{name}": str(value) for name, value in slurm.items()}},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
print("Submitted batch job 7")
"""
FAKE_PROGRAMS = {
    "pip": 'printf "%s\n" "${*:2}" >> "$CLONE/installed.txt"',
    "python": f'[ "$1 $2" = "-m pytest" ] || exec {sys.executable} "$@"',
    "wandb": f'exec {sys.executable} {WANDB_CLI} "$@"',
    "scontrol": "exit 1",
    "sbatch": f'exec {sys.executable} "$CLONE/tools/sbatch.py" "$@"',
    "srun": 'while [[ "$1" != *python* ]]; do shift; done; exec "$@"',
    "sacct": "printf 'JobID|State|NodeList\\n7_0|RUNNING|here\\n7_1|RUNNING|here\\n'",
}
"""Stand-ins for pip, which only records its arguments, for pytest, and for Slurm."""


class ProjectClone:
    """A copy of the project's tracked files, with a shell to run commands in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for name in TRACKED_PATHS:
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, path / name)
            else:
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, path / name, ignore=ignore)
        tools = path / "tools"
        tools.mkdir()
        (tools / "sbatch.py").write_text(FAKE_SBATCH)
        for program, script in FAKE_PROGRAMS.items():
            (tools / program).write_text(f"#!/bin/bash\n{script}\n")
            (tools / program).chmod(0o755)
        (path / "shared").mkdir()

    def paste(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run lines in one shell, stopping at the first that fails."""
        (self.path / "pasted.sh").write_text(script)
        return subprocess.run(
            ["bash", "-e", "pasted.sh"],
            stdin=subprocess.DEVNULL,
            cwd=self.path,
            env={
                **os.environ,
                "CLONE": str(self.path),
                "PATH": f"{self.path}/tools:{os.environ['PATH']}",
                "PYTHONPATH": str(self.path),
                "SLURM_ARRAY_JOB_ID": "7",
                "SLURM_ARRAY_TASK_ID": "3",
            },
            capture_output=True,
            text=True,
        )

    @property
    def installed(self) -> list[str]:
        """Return the arguments of every `pip install`."""
        return (self.path / "installed.txt").read_text().splitlines()

    def save_files_of_the_reader(self) -> None:
        """Write the files that the READMEs show, and the data files that a reader brings."""
        for block in itertools.chain.from_iterable(map(read_blocks, READMES)):
            if block.file:
                file = self.path / block.file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
        images, labels = make_images_and_labels(300, 10, 28)
        pixels = images.reshape(len(images), -1)
        names = ",".join(f"pixel{number}" for number in range(28 * 28))
        table = np.column_stack([labels, pixels])
        settings = {"fmt": "%d", "delimiter": ",", "comments": ""}
        np.savetxt(self.path / "train.csv", table, header=f"label,{names}", **settings)
        np.savetxt(self.path / "test.csv", pixels, header=names, **settings)

    def serve_small_mnist(self, server: MirrorServer) -> None:
        """Serve files of a few kilobytes as MNIST, with their checksums registered."""
        contents = map(
            to_idx_bytes,
            (*make_images_and_labels(600, 10, 28), *make_images_and_labels(200, 10, 28)),
        )
        code = self.path / "nn/data/mnist.py"
        text = code.read_text()
        for (name, digest), content in zip(mnist.MNIST_REGISTRY.items(), contents, strict=True):
            text = text.replace(digest, hashlib.sha256(content).hexdigest())
            server.files[f"{name}.gz"] = gzip.compress(content)
            if name.startswith("t10k"):
                (self.path / f"{name}.gz").write_bytes(server.files[f"{name}.gz"])
        code.write_text(text)
        options = self.path / "conf/dataset/mnist.yaml"
        options.write_text(re.sub(r"https://\S+", server.url, options.read_text()))
