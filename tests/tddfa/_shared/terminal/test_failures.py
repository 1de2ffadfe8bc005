import os
import re
import sys
from pathlib import Path

import pytest

from tddfa._shared.terminal import failures
from tddfa._shared.terminal.failures import drop_output, is_debug, set_debug, unexpected, usable_streams


def caught():
    try:
        raise TypeError("two\nlines")
    except TypeError as error:
        return error


def test_a_fault_is_one_line_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tddfa", "video", "rtsp://me:secret@host/x", "a\x1b[2J"])
    line = unexpected(caught())
    assert re.match(r"^a bug in tddfa: TypeError: two lines; please report it with the file \S+\.txt$", line)
    report = Path(line.split()[-1]).read_text()
    assert "in caught" in report
    assert "rtsp://host/x" in report
    assert "secret" not in report
    assert "\x1b" not in report


def test_a_report_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(failures.tempfile, "mkstemp", lambda **_: (_ for _ in ()).throw(OSError(28, "full")))
    assert unexpected(caught()) == "a bug in tddfa: TypeError: two lines; --debug shows where"


def test_debug_is_a_switch():
    assert not is_debug()
    set_debug(True)
    assert is_debug()
    set_debug(False)


def test_streams_that_were_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with usable_streams():
        print("nowhere")
        sys.stderr.write("nowhere")
    assert (sys.stdout, sys.stderr) == (None, None)


@pytest.mark.skipif(os.name == "nt", reason="no descriptors of this kind")
def test_output_can_be_dropped(tmp_path, monkeypatch):
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        drop_output()
        file.write("lost")
        file.flush()
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == ""
