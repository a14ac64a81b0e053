import shutil
import subprocess
from pathlib import Path

import pytest
from shell import fedcoin

from fedcoin_cli.cli.program.completion import script
from fedcoin_cli.cli.program.verbs import load, verbs

SHELLS = ("bash", "zsh", "fish")


def completed(script_file: Path, line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    ask = f"""
        source {script_file}
        COMP_WORDS=({line}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _fedcoin
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash in a file."""
    path = tmp_path_factory.mktemp("completion") / "fedcoin"
    path.write_text(script("bash"))
    return path


def test_bash_completes(bash: Path) -> None:
    """Commands, options and the words of choices are completed, each where it belongs and nowhere else."""
    assert completed(bash, "fedcoin pub") == ["publish"]
    assert set(completed(bash, "fedcoin ''")) > set(verbs())
    assert completed(bash, "fedcoin mine --li") == ["--live"]
    assert completed(bash, "fedcoin publish --li") == []
    assert completed(bash, "fedcoin export --format h") == ["hledger"]
    assert completed(bash, "fedcoin config sh") == ["show"]
    assert completed(bash, "fedcoin balance --workspace /x --a") == ["--at"]


def test_every_option_is_there(bash: Path) -> None:
    """bash offers every long option of every command."""
    for verb in verbs():
        names = {name for one in load(verb).params for name in one.opts if name.startswith("--")}
        assert names <= set(completed(bash, f"fedcoin {verb} --"))


@pytest.mark.parametrize("shell", SHELLS)
def test_printed_and_nothing_else(shell: str, tmp_path: Path, home: Path) -> None:
    """The program prints the script and touches no file; a shell that is installed can read it."""
    before = sorted(home.rglob("*"))
    said = fedcoin("--show-completion", shell, folder=tmp_path)
    assert (said.code, said.err, said.out) == (0, "", script(shell))
    assert sorted(home.rglob("*")) == before
    if shutil.which(shell) is not None:
        path = tmp_path / "script"
        path.write_text(said.out)
        assert subprocess.run([shell, "-n", path], capture_output=True, check=False).returncode == 0


def test_an_unknown_shell(tmp_path: Path) -> None:
    """Another shell is a usage error."""
    assert fedcoin("--show-completion", "csh", folder=tmp_path).code == 2
