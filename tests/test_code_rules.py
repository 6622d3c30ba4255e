"""Rules that neither ruff nor mypy checks."""

from __future__ import annotations

import ast

from tests.conftest import ROOT

FILES = [*(ROOT / "nn").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
MAX_POSITIONAL_PARAMETERS = 6


def positional_parameters(node):
    """Return the positional parameters of a function, or of a dataclass's constructor."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parameters = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        return parameters[parameters[:1] in (["self"], ["cls"]) :]
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if not any(d.startswith("dataclass") and "kw_only=True" not in d for d in decorators):
        return []
    fields = [ast.unparse(item) for item in node.body if isinstance(item, ast.AnnAssign)]
    if "_: KW_ONLY" in fields:
        fields = fields[: fields.index("_: KW_ONLY")]
    return [field for field in fields if "kw_only=True" not in field]


def test_nothing_has_more_than_six_positional_parameters():
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and len(positional_parameters(node)) > MAX_POSITIONAL_PARAMETERS
    ]
    assert not offenders
