"""The allowed imports: dependencies point one way, and a plain run starts fast."""

from __future__ import annotations

import ast
import importlib.util
import sys
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

SOURCE_FILES = sorted((ROOT / "nn").rglob("*.py"))
PACKAGE_ORDER = (
    "io",
    "data",
    "config",
    "tracking",
    "runs",
    "sweeps",
    "report",
    "predict",
    "cli",
    "api",
)
"""The packages around the numeric library; each imports only those before it.

The exception is nn/__init__.py, which imports nn.api on first use.
"""


def imported_modules(path):
    """Yield every module that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            for alias in node.names:
                if importlib.util.find_spec("nn") and f"{node.module}.{alias.name}" in MODULES:
                    yield f"{node.module}.{alias.name}"


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCE_FILES if path != ROOT / "nn/__init__.py"}


def imported_packages(path):
    return {name.split(".")[0] for name in imported_modules(path)}


def package_rank(name):
    """Return the position of a module in the import order; the numeric library is first."""
    part = name.split(".")[1] if "." in name else ""
    return PACKAGE_ORDER.index(part) + 1 if part in PACKAGE_ORDER else 0


NUMERIC_MODULES = [path for name, path in MODULES.items() if package_rank(name) == 0]


@pytest.mark.parametrize("path", NUMERIC_MODULES, ids=module_name)
def test_numeric_library_imports_only_numpy_and_the_standard_library(path):
    allowed = {"numpy", "nn", "__future__"} | sys.stdlib_module_names
    assert imported_packages(path) <= allowed


def test_only_one_file_imports_wandb():
    assert [module_name(p) for p in SOURCE_FILES if "wandb" in imported_packages(p)] == [
        "nn.tracking.wandb_run"
    ]


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("plotly", "nn.report"),
        ("matplotlib", "nn.report"),
        ("PIL", ("nn.report", "nn.predict.inputs", "nn.predict.preprocessing")),
        ("wandb_workspaces", "nn.report.wandb_report"),
        ("optuna", "nn.sweeps"),
        ("starlette", "nn.report.server"),
        ("uvicorn", "nn.report.server"),
    ],
)
def test_package_is_imported_only_where_allowed(package, places):
    users = [module_name(path) for path in SOURCE_FILES if package in imported_packages(path)]
    assert users
    assert all(name.startswith(places) for name in users)


def test_hydra_is_imported_only_by_config_and_cli():
    users = [p for p in SOURCE_FILES if imported_packages(p) & {"hydra", "omegaconf"}]
    assert {path.parent.name for path in users} == {"config", "cli"}


def test_no_import_cycles():
    graph = {
        name: {other for other in imported_modules(path) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


def test_imports_follow_the_package_order():
    for name, path in MODULES.items():
        for other in imported_modules(path):
            if other in MODULES:
                assert package_rank(other) <= package_rank(name), f"{name} imports {other}"


def test_plain_run_imports_no_slow_packages(workdir):
    code = (
        "import sys, runpy\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "slow = {'pandas', 'sklearn', 'matplotlib', 'plotly', 'optuna', 'scipy'}\n"
        "print('IMPORTED', sorted(slow & set(sys.modules)))\n"
    )
    start = f"import sys; sys.argv = [{str(ROOT / 'scripts/train.py')!r}, 'epochs=1']\n"
    result = workdir.run("-c", start + code)
    assert "IMPORTED []" in result.stdout, result.stderr
