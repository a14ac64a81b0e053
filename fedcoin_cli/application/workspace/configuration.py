"""Where settings come from: flag > environment > workspace > user > default, with every value's origin.

The schema itself is in `settings`. This module reads the files and variables, refuses what is unknown or out
of range, naming the place, and writes `settings.toml`.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from platformdirs import user_config_path

from fedcoin_cli.application.workspace.setting_rule import Value
from fedcoin_cli.application.workspace.settings import RULES, SECTIONS, Settings
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.contract.metric import forms, read_metric
from ledger_store.base.errors import ExitCode, SettingsError

_PARTS = ("payment.train", "payment.computation", "payment.shapley")
_GRID = ("task.least-rankings", "task.most-rankings")


class FlagError(SettingsError):
    """A setting that is wrong on the command line: a usage error."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value, the kind of place that it comes from (`flag`, `environment`, …) and the place's name."""

    value: object
    origin: str
    where: str


DEFAULT = Given(None, "default", "built in")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force, and for each key that is not a default the place that it comes from."""

    settings: Settings
    given: Mapping[str, Given]

    def origin(self, key: str) -> Given:
        """Where the value of `key` comes from."""
        return self.given.get(key, DEFAULT)


def user_file() -> Path:
    """The user's own settings, below the workspace's in rank."""
    return user_config_path("fedcoin") / "settings.toml"


def load(
    workspace_file: Path | None,
    flags: Mapping[str, Given] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Read every place in rank order and check the whole.

    Raises `SettingsError` naming file or variable, or `FlagError` naming the flag, for an unknown key, a
    value out of range, payment parts whose sum is not exactly 1, or numbers of rankings off the grid.
    """
    places: list[Mapping[str, Given]] = [from_file(user_file(), "user")]
    if workspace_file is not None:
        places.append(from_file(workspace_file, "workspace"))
    places += [from_environment(os.environ if environment is None else environment), flags or {}]
    given: dict[str, Given] = {}
    values: dict[str, Value] = {}
    for place in places:
        values |= {key: _checked(key, one) for key, one in place.items()}
        given |= place
    configuration = Configuration(Settings.of(values), given)
    _check_sum(configuration)
    _check_grid(configuration)
    _check_metric(configuration)
    return configuration


def assignment(text: str) -> tuple[str, Given]:
    """The key and raw value of a flag `--set SECTION.KEY=VALUE`; raises `FlagError`."""
    key, equals, value = text.partition("=")
    if not equals:
        hint = "for example: --set task.price=250"
        raise FlagError(f"{text!r} is not SECTION.KEY=VALUE", where="--set", hint=hint)
    return key.strip(), Given(value.strip(), "flag", f"--set {key.strip()}")


def from_file(path: Path, origin: str) -> dict[str, Given]:
    """The raw settings of a TOML file by key; none when there is no such file."""
    try:
        document = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        return {}
    # Numbers of thousands of digits and towers of brackets are refused by Python, not by tomllib.
    except (ValueError, RecursionError) as error:
        hint = "write it as TOML: [section] lines, and key = value below them"
        raise SettingsError(f"not a settings file: {error}", where=str(path), hint=hint) from error
    except OSError as error:
        message = f"cannot read the settings: {error.strerror}"
        raise SettingsError(message, where=str(path), hint="check the file's permissions") from error
    return {key: Given(value, origin, str(path)) for key, value in _flat(document)}


def from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    """The raw settings in FEDCOIN_SECTION_KEY variables; other variables are not looked at."""
    return {
        f"{section}.{name.removeprefix(prefix).lower().replace('_', '-')}": Given(value, "environment", name)
        for section in SECTIONS
        for prefix in [f"FEDCOIN_{section.upper()}_"]
        for name, value in environment.items()
        if name.startswith(prefix)
    }


def render(values: Mapping[str, Value], *, defaults: bool) -> str:
    """The text of a settings.toml with `values`; all other keys at their default, or as comments."""
    lines = ["# FedCoin's settings. Decimals are written as strings. `fedcoin config show --origin` tells"]
    lines.append(
        "# which value is in force: flag > FEDCOIN_SECTION_KEY > this file > the user's file > default."
    )
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        for rule in (rule for key, rule in RULES.items() if key.startswith(f"{section}.")):
            value = values.get(rule.key, rule.default)
            mark = "" if defaults or rule.key in values else "# "
            lines.append(f"# {rule.line}")
            lines.append(f"{mark}{rule.key.removeprefix(section)[1:]} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, table in document.items():
        if isinstance(table, dict) and section in SECTIONS:
            yield from ((f"{section}.{key}", value) for key, value in table.items())
        else:
            yield section, table


def _checked(key: str, given: Given) -> Value:
    rule = RULES.get(key)
    if rule is None:
        close = get_close_matches(key, RULES, 1)
        hint = f"did you mean {close[0]}?" if close else "fedcoin config show lists every setting"
        raise _error(given)(f"unknown setting {key}", where=given.where, hint=hint)
    try:
        return rule.parse(given.value)
    except ValueError as error:
        message = f"{key} = {_toml(given.value)} {error}"
        raise _error(given)(message, where=given.where, hint=rule.line) from error


def _check_sum(configuration: Configuration) -> None:
    payment = configuration.settings.payment
    total = payment.train + payment.computation + payment.shapley
    if total != 1:
        names = " + ".join(f"{key} {configuration.settings.value(key)}" for key in _PARTS)
        _refuse(configuration, _PARTS, f"{names} = {total}", "the three parts must sum to 1 exactly")


def _check_grid(configuration: Configuration) -> None:
    task = configuration.settings.task
    for key, value in zip(_GRID, (task.least_rankings, task.most_rankings), strict=True):
        if (floor := grid_up_to(value)) != value:
            message = f"{key} = {value} is not a number of rankings that can be claimed"
            _refuse(configuration, (key,), message, f"the nearest below is {floor}")
    if task.least_rankings > task.most_rankings:
        message = f"{_GRID[0]} {task.least_rankings} is above {_GRID[1]} {task.most_rankings}"
        _refuse(configuration, _GRID, message, "lower the first or raise the second")


def _check_metric(configuration: Configuration) -> None:
    try:
        read_metric(configuration.settings.task.metric)
    except ValueError as error:
        _refuse(configuration, ("task.metric",), str(error), f"one of: {', '.join(forms())}")


def _refuse(configuration: Configuration, keys: tuple[str, ...], message: str, hint: str) -> None:
    """Blame the place of highest rank among those that the keys come from."""
    ranks = ("default", "user", "workspace", "environment", "flag")
    blamed = max((configuration.origin(key) for key in keys), key=lambda one: ranks.index(one.origin))
    raise _error(blamed)(message, where=blamed.where, hint=hint)


def _error(given: Given) -> type[SettingsError]:
    return FlagError if given.origin == "flag" else SettingsError


def _toml(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False) if isinstance(value, str | Decimal) else str(value)
