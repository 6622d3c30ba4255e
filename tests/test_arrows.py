"""Who may import whom, so that data goes one way and a plain run starts fast."""

from __future__ import annotations

import ast
import importlib.util
import sys
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "nn").rglob("*.py"))
FRAMES = ("cli", "config", "data", "tracking", "sweeps", "report", "inference")
"""Folders of nn/ that are not the numeric core, and the files that stand with them."""
AROUND = ("components.py", "experiment.py", "run.py")


def imports(path):
    """Name every module that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            for alias in node.names:
                if importlib.util.find_spec("nn") and f"{node.module}.{alias.name}" in MODULES:
                    yield f"{node.module}.{alias.name}"


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def packages(path):
    return {name.split(".")[0] for name in imports(path)}


def core():
    """List the files of the numeric core."""
    for path in FILES:
        first, *rest = path.relative_to(ROOT / "nn").parts
        if first not in FRAMES and not (not rest and first in AROUND):
            yield path


@pytest.mark.parametrize("path", list(core()), ids=module)
def test_the_numeric_core_needs_numpy_and_the_standard_library_only(path):
    allowed = {"numpy", "nn", "__future__"} | sys.stdlib_module_names
    assert packages(path) <= allowed


def test_only_one_file_imports_wandb():
    assert [module(p) for p in FILES if "wandb" in packages(p)] == ["nn.tracking.mirror"]


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("plotly", "nn.report"),
        ("matplotlib", "nn.report"),
        ("PIL", ("nn.report", "nn.inference.pictures", "nn.inference.adapted")),
        ("wandb_workspaces", "nn.report.wandb_report"),
        ("optuna", "nn.sweeps"),
    ],
)
def test_a_package_has_its_place(package, places):
    users = [module(path) for path in FILES if package in packages(path)]
    assert users
    assert all(name.startswith(places) for name in users)


def test_hydra_is_met_in_the_config_package_only():
    users = [p for p in FILES if packages(p) & {"hydra", "omegaconf"}]
    assert {path.parent.name for path in users} == {"config"}


def test_no_import_cycles():
    graph = {
        name: {other for other in imports(path) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


def test_data_does_not_flow_back():
    """The core knows nothing of tracking, configuration or experiments."""
    for path in core():
        for name in imports(path):
            assert not name.startswith(("nn.tracking", "nn.config", "nn.experiment")), path


def test_a_plain_run_imports_nothing_slow(workplace):
    code = (
        "import sys, runpy\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "slow = {'pandas', 'sklearn', 'matplotlib', 'plotly', 'optuna', 'scipy'}\n"
        "print('IMPORTED', sorted(slow & set(sys.modules)))\n"
    )
    start = f"import sys; sys.argv = [{str(ROOT / 'scripts/train.py')!r}, 'epochs=1']\n"
    done = workplace.run("-c", start + code)
    assert "IMPORTED []" in done.stdout, done.stderr
