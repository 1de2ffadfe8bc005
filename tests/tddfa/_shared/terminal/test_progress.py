import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tddfa
from tddfa._shared.terminal.progress import is_watched, progress, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_only_a_terminal_sees_bars(monkeypatch, stream):
    written = stream()
    monkeypatch.setattr("sys.stderr", written)
    assert is_watched() == (stream is Terminal)
    assert list(progress(iter("abc"), 3, label="letters", unit="letter")) == ["a", "b", "c"]
    with progress_bar(10) as bar:
        bar.update(5)
    assert ("letters" in written.getvalue()) == (stream is Terminal)
    assert ("0/10" in written.getvalue()) == (stream is Terminal)
    if stream is io.StringIO:
        assert written.getvalue() == ""


def test_a_bar_may_be_off_on_a_terminal(monkeypatch):
    written = Terminal()
    monkeypatch.setattr("sys.stderr", written)
    with progress_bar(10, show=False) as bar:
        bar.update(5)
    assert written.getvalue() == ""


def test_nothing_else_makes_bars():
    """A bar that another module makes would fill redirected logs."""
    folder = Path(tddfa.__file__).parent
    users = [
        file for file in folder.rglob("*.py") if re.search(r"^ *(from|import) tqdm", file.read_text("utf-8"), re.M)
    ]
    assert users == [folder / "_shared/terminal/progress.py"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="pseudo-terminals")
def test_a_terminal_that_does_not_know_its_size():
    """One of a CI, or of a program, has 0 columns and rows."""
    ours, theirs = os.openpty()
    code = "from tddfa._shared.terminal.progress import progress; print(list(progress('abc', unit='letter')))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.stdout == "['a', 'b', 'c']\n"
    assert "0/3" in shown
    assert "letter/s" in shown
