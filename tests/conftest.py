import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Speed is never asserted: a loaded machine may take its time over an example.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test, and no program that a test starts, sees or touches the real home directory or settings."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FEDCOIN_") and name != "FEDCOIN_MNIST"]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _signals() -> Iterator[None]:
    """Programs that tests start react to Ctrl-C and hang-ups although whoever started the tests may ignore them."""
    wanted: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly at the end what was not tested here although it matters."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    reasons = {words[2].removeprefix("Skipped: ") for words in skipped if isinstance(words, tuple)}
    for reason in sorted(reason for reason in reasons if reason.startswith("miners in containers")):
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        terminalreporter.write_line(reason)
