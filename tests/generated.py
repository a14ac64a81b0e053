"""Every file of this repository that is generated: where it is and what it must say.

`python tests/generated.py` (or `make man`) writes them; `tests/cli/test_generated.py` compares them.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from api_page import page as api_page

from fedcoin_cli.application.workspace.configuration import render
from fedcoin_cli.application.workspace.settings import RULES
from fedcoin_cli.cli.manpage import escaped, exit_codes, pages
from fedcoin_cli.cli.program.verbs import verbs
from fedcoin_cli.learning.graph.form import FORMS
from fedcoin_cli.learning.graph.operations.table import OPERATIONS

ROOT = Path(__file__).resolve().parents[1]


@cache
def generated() -> dict[Path, str]:
    """The text of every generated file by its path."""
    found = {ROOT / "man" / name: text for name, text in pages().items()}
    found[ROOT / "settings.toml"] = render({}, defaults=True)
    found[ROOT / "README.md"] = _readme((ROOT / "README.md").read_text("utf-8"))
    chain = ROOT / "man" / "fedcoin-chain.5"
    found[chain] = _with_fields(chain.read_text("utf-8"))
    found[ROOT / "docs" / "api.md"] = api_page()
    architecture = ROOT / "ARCHITECTURE.md"
    found[architecture] = _with_tables(architecture.read_text("utf-8"), {"modules": _modules()})
    return found


def stale() -> list[Path]:
    """Manual pages of commands that are gone; those of sections 5 and 7 are written by hand, lists apart."""
    return [path for path in (ROOT / "man").glob("*.1") if path not in generated()]


def _readme(text: str) -> str:
    """The README with its generated tables, each between two marker comments."""
    commands = ((f"`fedcoin {verb}`", line) for verb, line in verbs().items())
    settings = ((f"`{key}`", f"`{rule.default}`", rule.line) for key, rule in RULES.items())
    tables = {
        "commands": _table(("command", "does"), commands),
        "settings": _table(("setting", "default", "means"), settings),
        "exit-codes": _table(("code", "means"), exit_codes()),
    }
    return _with_tables(text, tables)


def _modules() -> str:
    """One line a module: where it is and the first sentence of what it says of itself."""
    paths = sorted(
        path
        for package in ("fedcoin", "ledger_store", "fedcoin_cli")
        for path in (ROOT / package).rglob("*.py")
    )
    lines = ((f"`{path.relative_to(ROOT)}`", _first_sentence(path)) for path in paths if path.stem[0] != "_")
    return _table(("module", "duty"), lines)


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.) |:$", paragraph)[0].rstrip(".")


def fields_of(name: str) -> list[tuple[str, str]]:
    """The fields of a class of the ledger, in its order, each with the docstring that stands under it."""
    (node,) = (
        one
        for path in (ROOT / "ledger_store").rglob("*.py")
        for one in ast.parse(path.read_text("utf-8")).body
        if isinstance(one, ast.ClassDef) and one.name == name
    )
    return list(explained(node).items())


def explained(node: ast.ClassDef) -> dict[str, str]:
    """What stands under each field of a class; empty where nothing does."""
    found = {}
    for part, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(part.annotation):
            continue
        said = following.value if isinstance(following, ast.Expr) else None
        text = said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
        found[part.target.id] = " ".join(text.split())
    return found


def _with_fields(text: str) -> str:
    """A page with a list of fields between each pair of its marks: of a class of the ledger, or of model.json."""
    return _MARKED.sub(lambda match: f"{match[1]}{_field_list(match[2])}{match[3]}", text)


_MARKED = re.compile(r'(^\.\\" fields (\w+)\n).*?(^\.\\" end fields\n)', re.MULTILINE | re.DOTALL)


def _field_list(name: str) -> str:
    forms = {**FORMS, "operations": _operations()}
    fields = forms[name].items() if name in forms else fields_of(name)
    return "".join(f".TP\n\\fB{escaped(field)}\\fR\n{_bold(said)}\n" for field, said in fields)


def _operations() -> dict[str, str]:
    """What the operations of a graph are set by."""
    return {name: f"{', '.join(one.settings) or 'None'}." for name, one in OPERATIONS.items()}


def _bold(text: str) -> str:
    """Words in backticks are set in bold."""
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped(text))


def _with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The text with each table between its two marker comments."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, rest = text.split(begin)
        text = f"{before}{begin}{table}{end}{rest.split(end)[1]}"
    return text


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "or") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    for path in stale():
        path.unlink()
    for path, text in generated().items():
        path.write_text(text, "utf-8")
