"""The allowed imports: dependencies point one way, and a plain run starts fast."""

from __future__ import annotations

import ast
import importlib.util
import sys
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "nn").rglob("*.py"))
ORDER = ("io", "data", "config", "tracking", "runs", "sweeps", "report", "predict", "cli", "api")
"""The packages around the numeric library; each imports only those before it.

The exception is nn/__init__.py, which imports nn.api on first use.
"""


def imports(path):
    """Yield every module that a file imports, at its top or in a function."""
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


MODULES = {module(path): path for path in FILES if path != ROOT / "nn/__init__.py"}


def packages(path):
    return {name.split(".")[0] for name in imports(path)}


def rank(name):
    """Return the position of a module in the import order; the numeric library is first."""
    part = name.split(".")[1] if "." in name else ""
    return ORDER.index(part) + 1 if part in ORDER else 0


LIBRARY = [path for name, path in MODULES.items() if rank(name) == 0]


@pytest.mark.parametrize("path", LIBRARY, ids=module)
def test_the_numeric_library_needs_numpy_and_the_standard_library_only(path):
    allowed = {"numpy", "nn", "__future__"} | sys.stdlib_module_names
    assert packages(path) <= allowed


def test_only_one_file_imports_wandb():
    assert [module(p) for p in FILES if "wandb" in packages(p)] == ["nn.tracking.wandb_logger"]


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("plotly", "nn.report"),
        ("matplotlib", "nn.report"),
        ("PIL", ("nn.report", "nn.predict.inputs", "nn.predict.preprocessing")),
        ("wandb_workspaces", "nn.report.wandb_report"),
        ("optuna", "nn.sweeps"),
    ],
)
def test_a_package_has_its_place(package, places):
    users = [module(path) for path in FILES if package in packages(path)]
    assert users
    assert all(name.startswith(places) for name in users)


def test_hydra_is_imported_by_the_configuration_and_the_command_line_only():
    users = [p for p in FILES if packages(p) & {"hydra", "omegaconf"}]
    assert {path.parent.name for path in users} == {"config", "cli"}


def test_no_import_cycles():
    graph = {
        name: {other for other in imports(path) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


def test_every_import_follows_the_order_of_packages():
    for name, path in MODULES.items():
        for other in imports(path):
            if other in MODULES:
                assert rank(other) <= rank(name), f"{name} imports {other}"


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
