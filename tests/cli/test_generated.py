import re
import shutil
import subprocess
from pathlib import Path

import pytest
from generated import ROOT, generated, stale

from fedcoin_cli.cli.manpage import pages
from fedcoin_cli.cli.program.verbs import verbs


@pytest.mark.parametrize("path", generated(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_are_fresh(path: Path) -> None:
    """Every generated file says what the code says now; if not, run `make man`."""
    assert path.read_text("utf-8") == generated()[path]


def test_no_page_is_left_over() -> None:
    """There is no manual page of a command that is gone."""
    assert stale() == []


def test_pages_use_known_macros_only() -> None:
    """Every line of a page is text or one of the few man macros, each section has a body."""
    for name, text in pages().items():
        macros = set(re.findall(r"^[.'](\S*)", text, re.MULTILINE))
        assert macros <= {'\\"', "TH", "SH", "PP", "TP", "B"}, name
        assert not re.search(r"^\.SH .*\n(\.SH|\Z)", text, re.MULTILINE), name


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", ["fedcoin.1", *(f"fedcoin-{verb}.1" for verb in verbs())])
def test_pages_are_set_without_a_warning(name: str) -> None:
    """groff sets every page without a warning."""
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", ROOT / "man" / name], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "SYNOPSIS" in re.sub(r".\x08|\x1b\[\d*m", "", done.stdout)
