import json
import os
import subprocess
from pathlib import Path

import pytest
from shell import PROGRAM, fedcoin

from fedcoin_cli.cli.main import main
from fedcoin_cli.cli.program.verbs import load, verbs


def test_every_command_has_a_line_and_a_help() -> None:
    """Each file among the commands loads, takes the common options, and its help begins with its line."""
    for name, line in verbs().items():
        assert line.endswith("."), name
        whole = load(name)
        assert whole.help.splitlines()[0] == line
        assert {"workspace", "assignments", "json", "quiet", "verbose", "no_color"} <= {
            one.name for one in whole.params
        }


def test_the_main_path_comes_first() -> None:
    """The commands of the main path are listed first, in the order in which a person needs them."""
    path = [name for name in ("init", "train", "mine", "publish", "audit") if name in verbs()]
    assert list(verbs())[: len(path)] == path


def test_help_lists_every_command(tmp_path: Path) -> None:
    """--help and -h are answers: on stdout, exit code 0, one line a command."""
    for flag in ("--help", "-h"):
        said = fedcoin(flag, folder=tmp_path)
        assert (said.code, said.err) == (0, "")
        assert all(line in " ".join(said.out.split()) for line in verbs().values())


def test_no_command_is_a_usage_error(tmp_path: Path) -> None:
    """`fedcoin` alone explains itself on stderr and fails with 2, so that a script notices."""
    said = fedcoin(folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "Commands:" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["confg"], "Did you mean 'config'?"),
        (["config"], "Missing argument"),
        (["config", "nothing"], "nothing"),
        (["config", "show", "--nothing"], "--nothing"),
        (["config", "show", "extra"], "extra"),
        (["config", "show", "--set", "task.price"], "SECTION.KEY=VALUE"),
        (["config", "show", "--set", "task.prize=1"], "task.price"),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    """What is wrong on the command line is said in one line with a hint, with exit code 2 and no answer."""
    said = fedcoin(*arguments, folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert words in said.err
    assert "\n\nhint: " in said.err


def test_version(tmp_path: Path) -> None:
    """The version is the package's."""
    assert fedcoin("--version", folder=tmp_path).out == "fedcoin 0.1.0\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """When the reader goes away (`fedcoin … | head -0`) the program ends silently with 141."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [PROGRAM, "config", "show"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", [("balance", "-C", "nowhere"), ("config", "show", "-C", "nowhere")])
def test_words_that_nobody_can_hear_change_no_exit_code(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The place of stderr is full, or can only be read: the code is still that of what went wrong."""
    for place, mode in (("/dev/full", os.O_WRONLY), ("/dev/null", os.O_RDONLY)):
        unwritable = os.open(place, mode)
        done = subprocess.run(
            [PROGRAM, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=unwritable, check=False
        )
        os.close(unwritable)
        assert (done.returncode, done.stdout) == (4, b"")


def test_the_exit_code_is_returned(tmp_path: Path) -> None:
    """`main` returns what the shell gets."""
    assert main(["--version"]) == 0
    assert main(["nothing"]) == 2
    assert main(["config", "show", "-C", str(tmp_path)]) == 4


@pytest.mark.parametrize(
    ("arguments", "code"), [(("balance", "nobody"), 4), (("balance", "--at", "x"), 2), (("log", "none"), 11)]
)
def test_errors_as_json(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """With --json an error is one object on stderr, whether the command ran or not, and stdout stays empty."""
    said = fedcoin(*arguments, "--json", folder=tmp_path)
    told = json.loads(said.err)
    assert (said.code, said.out, told["exit_code"]) == (code, "", code)
    assert told["schema"] == 1
    assert told["error"]
    assert told["hint"]
