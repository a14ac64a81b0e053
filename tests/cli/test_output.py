import errno
import json
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from shell import PROGRAM, fedcoin

from fedcoin_cli.cli.program.options import Call, command
from fedcoin_cli.cli.program.output import Output, dumps, table
from fedcoin_cli.cli.program.progress import progress
from ledger_store.base.errors import ExitCode, FedCoinError, KeyFailure


def outcome(error: BaseException | None, *arguments: str) -> Any:
    """The exit code of a command that ends with `error`."""

    def run(call: Call) -> None:
        """End as told."""
        if error is not None:
            raise error
        call.output.answer({"value": Decimal("0.10")}, ["answer"])
        call.output.note("note")
        call.output.detail("detail")

    return command("ends", run).main(args=list(arguments), prog_name="ends", standalone_mode=False) or 0


def test_the_answer_alone_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout holds the answer, stderr the rest, and -q and -v change only the rest."""
    for flags, rest in (([], "note\n"), (["-q"], ""), (["-v"], "note\ndetail\n")):
        assert outcome(None, *flags) == 0
        said = capsys.readouterr()
        assert (said.out, said.err) == ("answer\n", rest)


def test_json_is_one_object_with_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout is one JSON object that names its schema."""
    assert outcome(None, "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "value": 0.1}


def test_decimals_keep_their_digits() -> None:
    """A Decimal becomes a JSON number with exactly its digits, also those that no float holds."""
    values = [Decimal("9007199254.740991"), Decimal("-0.000001"), Decimal("1E+3"), Decimal("12.50")]
    text = dumps({"values": values, "text": "1.5"})
    assert text == '{"values": [9007199254.740991, -0.000001, 1000, 12.50], "text": "1.5"}'
    assert json.loads(text, parse_float=Decimal)["values"] == values


def test_an_error_is_what_where_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """A known error prints what, where, an empty line and what to do; its class decides the exit code."""
    assert outcome(KeyFailure("no such key", where="/keys/a.key", hint="make one")) == ExitCode.KEY
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: no such key\n  /keys/a.key\n\nhint: make one\n")


def test_a_message_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A message with line breaks from elsewhere is printed as one line."""
    outcome(KeyFailure("one\ntwo"))
    assert capsys.readouterr().err == "error: one two\n"


@pytest.mark.parametrize("kind", FedCoinError.__subclasses__())
def test_every_error_has_its_code(kind: type[FedCoinError]) -> None:
    """No error of the tree ends as a bug."""
    assert outcome(kind("message")) == kind.exit_code != ExitCode.BUG


def test_a_bug_asks_for_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is exit code 1 without a traceback; -vv shows it."""
    assert outcome(ZeroDivisionError("oops")) == ExitCode.BUG
    said = capsys.readouterr().err
    assert said.startswith("error: ZeroDivisionError: oops\n")
    assert "-vv" in said
    assert "Traceback" not in said
    assert outcome(ZeroDivisionError("oops"), "-vv") == ExitCode.BUG
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """A refusing disk is exit code 12 wherever it shows, with the file's name."""
    assert outcome(OSError(errno.ENOSPC, "No space left on device", "/x")) == ExitCode.STORAGE
    assert "/x" in capsys.readouterr().err


def test_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is 130 without a traceback."""
    assert outcome(KeyboardInterrupt()) == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "hostile", ["a\nb", "a\x1b[2Jb", "a\rb", "a\x9bb", "a\u202eb", "a\u2028b", "a\udcffb", "a\x00b"]
)
def test_what_a_terminal_would_obey_is_shown(capsys: pytest.CaptureFixture[str], hostile: str) -> None:
    """In the answer, beside it, and in errors: one line stays one, and the characters can be seen."""
    output = Output(verbosity=1)
    output.answer({}, [hostile])
    for say in (output.note, output.detail, output.warn):
        say(hostile)
    output.complain(ExitCode.USAGE, "no", hostile, hostile)
    said = capsys.readouterr()
    shown = hostile.encode("unicode_escape").decode()
    assert said.out == f"{shown}\n"
    assert said.err == f"{shown}\n{shown}\nwarning: {shown}\nerror: no\n  {shown}\n\nhint: {shown}\n"


def test_a_traceback_is_lines_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    """-vv shows the traceback line by line, and in it nothing that a terminal would obey."""
    assert outcome(KeyFailure("a\x1b[2Jb\rc"), "-vv") == ExitCode.KEY
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert "KeyFailure: a\\x1b[2Jb\\rc\n" in said


def test_whoever_prints_may_print_anything() -> None:
    """What does not pass through `Output` (help, exports, drawings) meets a stdout that refuses no letter, either."""
    program = "from fedcoin_cli.cli.main import main; main(['--version']); print('φ ± 0')"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert said.stdout.endswith(b"\n\\u03c6 \\xb1 0\n")


def test_columns_are_aligned() -> None:
    """Numbers stand to the right, words to the left, and no line ends in spaces."""
    lines = table(["client", "coins"], [["client-001", "12.5"], ["a", "1,000.25"]])
    assert lines == ["client         coins", "client-001      12.5", "a           1,000.25"]
    assert table(["a", "b"], []) == ["a  b"]


def on_a_terminal(folder: Path, *arguments: str, **variables: str) -> bytes:
    """What a run prints to a terminal on stderr."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [PROGRAM, *arguments], cwd=folder, env=os.environ | variables, stderr=theirs, check=False, stdout=-3
    )
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as stream:
        return stream.read(4096)


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    """Errors are coloured on a terminal, never in a pipe, with --no-color or with NO_COLOR."""
    wrong = ("config", "show", "--set", "a")
    assert b"\x1b[" in on_a_terminal(tmp_path, *wrong, NO_COLOR="")
    assert b"\x1b[" not in on_a_terminal(tmp_path, *wrong, "--no-color", NO_COLOR="")
    assert b"\x1b[" not in on_a_terminal(tmp_path, *wrong, NO_COLOR="1")
    assert "\x1b[" not in fedcoin(*wrong, folder=tmp_path, NO_COLOR="").err


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal progress is silent, or with -v at most eleven plain lines, however many steps there are."""
    for verbosity, lines in ((-1, 0), (0, 0), (1, 11)):
        with progress(Output(verbosity=verbosity), "training", 1000, "steps") as step:
            for done in range(1001):
                step(done)
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == lines
