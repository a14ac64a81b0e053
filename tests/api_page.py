"""docs/api.md: the Python API, made from the signatures and docstrings of what `fedcoin` offers.

Read from the source and not from live objects, so that every Python writes the same page.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fedcoin
from fedcoin import ledgers, workspaces

_HEAD = """# The Python API

Made from the docstrings of what `import fedcoin` offers: `make man` writes it, a test compares it.
[python.md](python.md) shows it at work; man pages and README tell what workspaces, rounds, tasks and audits are.
"""
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns):")
_ITEM = re.compile(r"( *)([\w.]+): (.*)")
_PER_LINE = 100

Function = ast.FunctionDef | ast.ClassDef


def page() -> str:
    """The page as it should stand."""
    parts = [
        _HEAD,
        *(
            _module(
                inspect.getdoc(fedcoin) or "",
            )
        ),
    ]
    for name in (name for names in fedcoin._HOMES.values() for name in names):
        node = _node(getattr(fedcoin, name), name)
        parts += _function(node, name) if isinstance(node, ast.FunctionDef) else _class(node, name)
    return "\n".join(parts).rstrip() + "\n"


def _module(text: str) -> Iterator[str]:
    """The package's docstring, its indented lines as code."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("    "):
            code = "\n".join(line.removeprefix("    ") for line in paragraph.splitlines())
            yield f"```python\n{code}\n```\n"
        else:
            yield f"{paragraph}\n"


def _node(thing: object, name: str) -> Function:
    """The definition of a function or class in its own file."""
    module = inspect.getmodule(thing)
    assert isinstance(module, ModuleType)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    return next(node for node in tree.body if isinstance(node, Function) and node.name == name)


def _class(node: Function, name: str) -> Iterator[str]:
    yield f"## `fedcoin.{name}`\n"
    yield _words(node)
    for member in node.body:
        if not isinstance(member, ast.FunctionDef) or member.name.startswith("_"):
            continue
        marks = {ast.unparse(mark) for mark in member.decorator_list}
        if "property" in marks:
            yield f"### `{name}.{member.name}`\n"
            yield f"{_type(member)}: {_words(member)}"
        elif ast.get_docstring(member):
            yield from _function(member, f"{name}.{member.name}", "###")


def _function(node: ast.FunctionDef, name: str, level: str = "##") -> Iterator[str]:
    yield f"{level} `{name if '.' in name else f'fedcoin.{name}'}`\n"
    yield f"```python\n{_signature(node)}\n```\n"
    yield _words(node)


def _signature(node: ast.FunctionDef) -> str:
    """As it is called: without `self`, one argument a line where it is long."""
    arguments = node.args
    if arguments.args and arguments.args[0].arg in {"self", "cls"}:
        arguments.args = arguments.args[1:]
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [_argument(one, default) for one, default in zip(arguments.args, defaults, strict=True)]
    if arguments.kwonlyargs:
        shown.append("*")
        pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        shown += [_argument(one, default) for one, default in pairs]
    if arguments.kwarg:
        shown.append(f"**{arguments.kwarg.arg}")
    line = f"{node.name}({', '.join(shown)}) -> {_type(node, code=False)}"
    if len(line) <= _PER_LINE:
        return line
    inner = "".join(f"    {one},\n" for one in shown)
    return f"{node.name}(\n{inner}) -> {_type(node, code=False)}"


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_plain(one.annotation)}" if one.annotation else ""
    if default is None:
        return f"{one.arg}{kind}"
    return f"{one.arg}{kind}{' = ' if kind else '='}{_value(default)}"


def _value(default: ast.expr) -> str:
    """A default as a reader knows it: a constant's value in place of its name."""
    homes = (workspaces, ledgers)
    if isinstance(default, ast.Name):
        return repr(next(getattr(home, default.id) for home in homes if hasattr(home, default.id)))
    return ast.unparse(default)


def _type(node: ast.FunctionDef, *, code: bool = True) -> str:
    text = _plain(node.returns) if node.returns else "None"
    return f"`{text}`" if code else text


def _plain(annotation: ast.expr) -> str:
    """An annotation without the quotes that put off reading it."""
    quoted = annotation.value if isinstance(annotation, ast.Constant) else None
    return quoted if isinstance(quoted, str) else ast.unparse(annotation)


def _words(node: Function) -> str:
    """A docstring as Markdown: the entries of a section as a list."""
    lines, section = [], False
    for line in (ast.get_docstring(node) or "").splitlines():
        if match := _SECTION.fullmatch(line):
            section = match[1] != "Returns"
            lines += [f"**{match[1]}**", ""]
        elif section and (item := _ITEM.fullmatch(line)) and len(item[1]) == 4:
            lines.append(f"- `{item[2]}`: {item[3]}")
        elif section and line:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line.strip())
    return "\n".join(lines) + "\n"
