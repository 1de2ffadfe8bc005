import io
import re
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
