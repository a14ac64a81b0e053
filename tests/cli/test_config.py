from pathlib import Path

from shell import fedcoin


def test_origins_are_told(tmp_path: Path) -> None:
    """config show --origin names the flag, variable or file that each value comes from."""
    (tmp_path / "genesis.json").touch()
    (tmp_path / "settings.toml").write_text("[task]\nclients = 4\n")
    said = fedcoin(
        *("config", "show", "--origin", "--set", "task.price=7"), folder=tmp_path, FEDCOIN_TASK_ATTEMPTS="2"
    ).out
    assert "flag: --set task.price" in said
    assert "environment: FEDCOIN_TASK_ATTEMPTS" in said
    assert f"workspace: {tmp_path / 'settings.toml'}" in said
    assert "default: built in" in said


def test_check_names_the_file(tmp_path: Path) -> None:
    """config check refuses a workspace's wrong settings with exit code 3 and the file's name."""
    (tmp_path / "genesis.json").touch()
    (tmp_path / "settings.toml").write_text("[task]\nclients = 1\n")
    said = fedcoin("config", "check", folder=tmp_path)
    assert (said.code, said.out) == (3, "")
    assert str(tmp_path / "settings.toml") in said.err


def test_outside_a_workspace(tmp_path: Path) -> None:
    """Without a workspace the defaults are shown; a folder that -C names must be one."""
    assert fedcoin("config", "check", folder=tmp_path).out == "settings ok\n"
    assert fedcoin("config", "path", "--json", folder=tmp_path).json["workspace"] is None
    said = fedcoin("config", "check", "-C", ".", folder=tmp_path)
    assert said.code == 4
    assert "fedcoin init" in said.err
