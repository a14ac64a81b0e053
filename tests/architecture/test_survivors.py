"""An excuse for a mutant names lines that are there: one whose code has moved or changed excuses nothing."""

import ast
import tomllib

from generated import ROOT

EXCUSES = tomllib.loads((ROOT / "tests" / "survivors.toml").read_text("utf-8"))["survivor"]


def lines_of(module: str, function: str) -> str:
    """The function as Python's parser prints it, without decorators and indents; empty where there is none."""
    node: ast.AST | None = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    for name in function.split("."):
        node = next((one for one in getattr(node, "body", []) if getattr(one, "name", None) == name), None)
    if not isinstance(node, ast.FunctionDef):
        return ""
    node.name, node.decorator_list = "it", []
    return "\n".join(line.strip() for line in ast.unparse(node).splitlines())


def test_an_excuse_names_lines_that_are_there() -> None:
    """Module, function and lines of each entry of survivors.toml are in the code of today."""
    gone = [
        (one["module"], one["function"], one["was"])
        for one in EXCUSES
        if one["was"] not in lines_of(one["module"], one["function"])
    ]
    assert not gone
