"""Manual pages generated from the commands and the settings: `fedcoin.1`, `fedcoin-VERB.1`, `fedcoin-settings.5`.

Nothing is written by hand that a command already says: the text is the help, the exit codes are the enum.
Pages use the man macros, so `man`, `groff -man` and `mandoc` all set them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from fedcoin_cli.application.workspace.setting_rule import Rule
from fedcoin_cli.application.workspace.settings import RULES, SECTIONS
from fedcoin_cli.cli.main import app
from fedcoin_cli.cli.program.options import COMMON_NAMES
from fedcoin_cli.cli.program.verbs import PROGRAM, examples, load, sections, verbs
from ledger_store.base.errors import ExitCode

_PAGES = tuple(f"{PROGRAM}-{name}" for name in ("settings(5)", "chain(5)", "protocol(7)"))
_SETTINGS = """
Settings are written in TOML, one table a section. Names are in kebab-case, decimals are best written as texts, so
that no reader rounds them. A value comes from a flag, else from an environment variable, else from the workspace's
file, else from the user's, else it is the default; fedcoin config show --origin tells which. An unknown name is an
error.

What consensus depends on is copied into genesis by init or into a task by publish: a changed file never changes an
old block. Any command takes --set SECTION.KEY=VALUE.
"""
_SETTINGS_FILES = (
    ("settings.toml", "in the workspace: what holds in it"),
    ("~/.config/fedcoin/settings.toml", "the user's, for all workspaces; fedcoin config path tells where"),
)
_FILES = (
    ("settings.toml", "the workspace's settings; fedcoin config show lists them all"),
    ("genesis.json", "what the network fixes for ever"),
    ("peers.toml", "where the miners listen"),
    ("keys/NAME.key", "secret keys, readable by their owner only"),
    ("miners/I/chain.jsonl", "the ledger of miner I: line h is block h"),
    ("copy/chain.jsonl", "the same as far as a member without a miner has verified it"),
    ("rounds/N/", "the files of round N"),
)
_ENVIRONMENT = (
    ("FEDCOIN_SECTION_KEY", "sets SECTION.KEY; above settings.toml, below a flag"),
    ("NO_COLOR", "no colour, whatever its value"),
)


def pages() -> dict[str, str]:
    """Every page's text by its file name."""
    found = {f"{PROGRAM}.1": _overview()}
    found[f"{PROGRAM}-settings.5"] = _settings()
    return found | {f"{PROGRAM}-{name}.1": _verb(name, line) for name, line in verbs().items()}


def exit_codes() -> list[tuple[str, str]]:
    """Every exit code and its meaning."""
    return [(str(int(code)), code.meaning) for code in ExitCode]


def _overview() -> str:
    group = typer.main.get_command(app)
    common = [one for one in load(next(iter(verbs()))).params if one.name in COMMON_NAMES]
    body = [
        *_section("SYNOPSIS", [f".B {PROGRAM}", r"\fICOMMAND\fR [\fIOPTION\fR ...]"]),
        *_section("DESCRIPTION", _prose(group.help or "")),
        *_section("COMMANDS", _items((f"{PROGRAM}-{name}(1)", line) for name, line in verbs().items())),
        *_section("COMMON OPTIONS", _items(map(_option, common))),
        *_section("EXIT STATUS", _items(exit_codes())),
        *_section("FILES", _items(_FILES)),
        *_section("ENVIRONMENT", _items(_ENVIRONMENT)),
        *_see_also([*(f"{PROGRAM}-{name}(1)" for name in verbs()), *_PAGES]),
    ]
    return _page(PROGRAM, "Shapley-value payments for federated learning", body)


def _verb(name: str, line: str) -> str:
    whole = load(name)
    own = [one for one in whole.params if one.name not in COMMON_NAMES]
    arguments = [one for one in own if one.param_type_name == "argument"]
    options = [one for one in own if one.param_type_name == "option"]
    places = " ".join(map(_place, arguments))
    # The first line of the help is in NAME already.
    text = (whole.help or "").partition("\n")[2]
    lines = _section("SYNOPSIS", [f".B {PROGRAM} {name}", rf"[\fIOPTION\fR ...] {places}".rstrip()])
    if text.strip():
        lines += _section("DESCRIPTION", _prose(text))
    if arguments:
        lines += _section("ARGUMENTS", _items((_metavar(one), one.help or "") for one in arguments))
    if options:
        lines += _section("OPTIONS", _items(map(_option, options)))
    for title, items in sections(name):
        lines += _section(title, _items(items))
    lines += _section(
        "EXAMPLES", _items((line, f"{does[0].upper()}{does[1:]}.") for line, does in examples(name))
    )
    lines += _section("COMMON OPTIONS", [rf"As in \fB{PROGRAM}\fR(1)."])
    lines += _section("EXIT STATUS", [rf"As in \fB{PROGRAM}\fR(1)."])
    purpose = line[0].lower() + line[1:].rstrip(".")
    return _page(f"{PROGRAM}-{name}", purpose, [*lines, *_see_also([f"{PROGRAM}(1)"])])


def _settings() -> str:
    body = [
        *_section("DESCRIPTION", _prose(_SETTINGS)),
        *_section("FILES", _items(_SETTINGS_FILES)),
    ]
    for section in SECTIONS:
        rules = (rule for key, rule in RULES.items() if key.startswith(f"{section}."))
        body += [f".SH [{section}]", *_items((rule.key.partition(".")[2], _setting(rule)) for rule in rules)]
    body += _see_also([f"{PROGRAM}(1)", f"{PROGRAM}-config(1)", *_PAGES[1:]])
    return _page(f"{PROGRAM}-settings", "what can be set, where, and what it means", body, section=5)


def _setting(rule: Rule) -> str:
    """What a setting is and may be, its default, and the variable that sets it."""
    default = "empty" if not str(rule.default) else str(rule.default)
    variable = f"{PROGRAM}_{rule.key}".upper().replace(".", "_").replace("-", "_")
    return f"{rule.line[0].upper()}{rule.line[1:]}. Default: {default}. Variable: {variable}."


def _page(name: str, line: str, body: Iterable[str], section: int = 1) -> str:
    head = [
        r".\" Generated from the program by `make man`; do not edit.",
        f'.TH "{name.upper()}" "{section}" "" "FedCoin" "FedCoin manual"',
        ".SH NAME",
        rf"{escaped(name)} \- {escaped(line)}",
    ]
    return "\n".join([*head, *body]) + "\n"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f".SH {title}", *lines]


def _prose(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield escaped(" ".join(paragraph.split()))


def _items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from (".TP", rf"\fB{escaped(term)}\fR", escaped(text))


def _option(option: Any) -> tuple[str, str]:
    names = ", ".join(sorted(option.opts, key=len))
    value = "" if option.is_flag or option.count else f" {_metavar(option)}"
    default = option.default
    shown = f" Default: {default}." if default not in {None, ""} and not callable(default) and value else ""
    return f"{names}{value}", f"{option.help or ''}{shown}"


def _place(argument: Any) -> str:
    place = rf"\fI{escaped(_metavar(argument))}\fR"
    return place if argument.required else f"[{place}]"


def _metavar(parameter: Any) -> str:
    choices = parameter.metavar or parameter.name.upper().replace("_", "-")
    return str(choices).strip("[]")


def _see_also(names: Iterable[str]) -> list[str]:
    """Pages by name and section, as "fedcoin(1)"."""
    parts = (name.partition("(") for name in names)
    return _section("SEE ALSO", [", ".join(rf"\fB{escaped(name)}\fR({number}" for name, _, number in parts)])


def escaped(text: str) -> str:
    """Text without meaning to the formatter: backslashes, hyphens and leading dots stay what they are."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    # Formatters read ASCII; other letters go by their code points.
    plain = "".join(one if one.isascii() else rf"\[u{ord(one):04X}]" for one in plain)
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain
