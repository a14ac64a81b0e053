from decimal import Decimal
from pathlib import Path

import pytest

from fedcoin_cli.application.workspace.configuration import FlagError, Given, load, render
from fedcoin_cli.application.workspace.setting_rule import Value
from fedcoin_cli.application.workspace.settings import RULES, Settings
from ledger_store.base.errors import ExitCode, SettingsError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "settings.toml"


def flags(**values: str) -> dict[str, Given]:
    return {
        key.replace("__", ".").replace("_", "-"): Given(value, "flag", key) for key, value in values.items()
    }


def test_defaults_are_the_seeds(file: Path) -> None:
    """Without any file the settings are the original code's, in exact integer units."""
    settings = load(file, {}, {}).settings
    assert settings == Settings()
    assert (settings.task.clients, settings.network.miners) == (20, 2)
    assert settings.task.price_micro == 1_000_000_000
    assert settings.task.runtime_ms == 15_000
    assert settings.consensus.difficulty_micro == 1_500_000
    assert settings.payment.parts_micro == (700_000, 100_000, 200_000)
    assert settings.task.most_rankings == 9_535
    assert settings.genesis.supply_micro == 10**12
    assert settings.genesis.delta_ms == 500


def test_rank_of_places(file: Path, tmp_path: Path) -> None:
    """Flag beats variable beats workspace beats user's file, and each value remembers its place."""
    user = tmp_path / "home" / "fedcoin" / "settings.toml"
    user.parent.mkdir(parents=True)
    user.write_text('[task]\nclients = 3\nattempts = 2\nruntime = "1"\nprice = "7"\n')
    file.write_text('[task]\nclients = 4\nattempts = 4\nruntime = "2"\n')
    environment = {"FEDCOIN_TASK_CLIENTS": "5", "FEDCOIN_TASK_ATTEMPTS": "5", "FEDCOIN_MNIST": "elsewhere"}
    found = load(file, flags(task__clients="6"), environment)
    task = found.settings.task
    assert (task.clients, task.attempts, task.runtime, task.price) == (6, 5, Decimal(2), Decimal(7))
    keys = ("clients", "attempts", "runtime", "price", "server")
    origins = [found.origin(f"task.{key}").origin for key in keys]
    assert origins == ["flag", "environment", "workspace", "user", "default"]


def test_decimals_are_exact(file: Path) -> None:
    """TOML numbers and strings give the same Decimal: 0.1 never passes through a float."""
    file.write_text('[payment]\ntrain = 0.1\ncomputation = "0.2"\nshapley = 0.7\n')
    assert load(file, {}, {}).settings.payment.parts_micro == (100_000, 200_000, 700_000)


BAD = [
    ("task", "clients = 1", "out of range"),
    ("task", "clients = 2.5", "wrong type"),
    ("task", "clients = true", "wrong type"),
    ("task", 'price = "-1"', "out of range"),
    ("task", 'price = "1.0000001"', "more than 6 decimals"),
    ("task", "price = 0.0000001", "more than 6 decimals"),
    ("task", 'price = "1e3"', "wrong type"),
    ("task", "price = nan", "wrong type"),
    ("task", "runtime = 3601", "out of range"),
    ("task", 'runtime = "0.0001"', "more than 3 decimals"),
    ("task", "attempts = 6", "out of range"),
    ("task", "most-rankings = 10000", "not a number of rankings"),
    ("task", "least-rankings = 9535\nmost-rankings = 20", "above"),
    ("task", 'aggregation = "sum"', "not a choice"),
    ("network", "miners = 0", "out of range"),
    ("network", "bind = 5", "wrong type"),
    ("consensus", 'difficulty = "-0.1"', "out of range"),
    ("payment", 'shapley = "0.3"', "= 1.1"),
    ("payment", 'rule = "everyone"', "not a choice"),
    ("genesis", 'supply = "0"', "out of range"),
]


@pytest.mark.parametrize(("section", "line", "words"), BAD, ids=[f"{s} {line}" for s, line, _ in BAD])
def test_a_bad_value_names_the_file(file: Path, section: str, line: str, words: str) -> None:
    """Every value out of its range is refused with the file's name and a hint, as exit code 3."""
    file.write_text(f"[{section}]\n{line}\n")
    with pytest.raises(SettingsError, match=words) as caught:
        load(file, {}, {})
    assert caught.value.where == str(file)
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.SETTINGS


def test_a_bad_flag_is_a_usage_error(file: Path) -> None:
    """The same faults on the command line are exit code 2, also when a flag only breaks a sum."""
    for given in ({"task__clients": "1"}, {"task__nonsense": "1"}, {"payment__train": "0.8"}):
        with pytest.raises(FlagError) as caught:
            load(file, flags(**given), {})
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.where in given


def test_a_bad_variable_names_itself(file: Path) -> None:
    """A variable that is out of range is named, and one that sets nothing is an unknown key."""
    for name, value in (("FEDCOIN_TASK_CLIENTS", "x"), ("FEDCOIN_TASK_CLIENT", "5")):
        with pytest.raises(SettingsError) as caught:
            load(file, {}, {name: value})
        assert caught.value.where == name


@pytest.mark.parametrize(
    ("text", "close"),
    [("[task]\nclient = 3", "task.clients"), ("[tusk]\nclients = 3", ""), ("clients = 3", "")],
)
def test_an_unknown_key_gets_a_suggestion(file: Path, text: str, close: str) -> None:
    """A misspelt key is an error that names the key that was probably meant."""
    file.write_text(text)
    with pytest.raises(SettingsError, match="unknown setting") as caught:
        load(file, {}, {})
    assert close in caught.value.hint


def test_a_broken_file_is_a_settings_error(file: Path) -> None:
    """A file that is not TOML, not UTF-8 or no file at all is refused by name, never read in part."""
    for content in (b"[task\n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match="not a settings file"):
            load(file, {}, {})
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match="cannot read"):
        load(file, {}, {})


def test_rendered_settings_read_back(file: Path) -> None:
    """What `render` writes is read back as the same values, and commented defaults set nothing."""
    values: dict[str, Value] = {
        "task.clients": 5,
        "task.server": 'a "name" \\ é',
        "task.price": Decimal("2.5"),
    }
    file.write_text(render(values, defaults=False), "utf-8")
    found = load(file, {}, {})
    assert set(found.given) == set(values)
    assert {key: found.settings.value(key) for key in values} == values
    file.write_text(render({}, defaults=True), "utf-8")
    assert set(load(file, {}, {}).given) == set(RULES)


def test_every_rule_accepts_its_default() -> None:
    """No default is outside its own range, and every setting has a line of help."""
    for rule in RULES.values():
        assert rule.parse(rule.default) == rule.default
        assert rule.help
