"""The last line of defence: faults, closed and full outputs, signals, hostile names."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tddfa._shared.terminal.failures import set_debug
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.cli._common import FAILED, INTERRUPTED, signals_as_interrupt

posix = pytest.mark.skipif(os.name == "nt", reason="signals and shells of POSIX")


@pytest.fixture(autouse=True)
def no_debug():
    yield
    set_debug(False)


@pytest.fixture
def fault(monkeypatch):
    def fail(*_):
        raise KeyError("a fault")

    monkeypatch.setattr(cli_image, "camera_choice", fail)


def shell(command, cwd, **variables):
    """Run a shell's line with ``tddfa`` as a function; give its status, and what it printed to stderr."""
    tddfa = f'tddfa() {{ "{sys.executable}" -m tddfa "$@"; }}; {command}'
    done = subprocess.run(
        ["bash", "-c", tddfa], cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_fault_of_the_program_is_one_line(fault, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["image", "a.jpg"]) == FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tddfa: error: a bug in tddfa: KeyError: 'a fault'; please report it with the file ")
    assert err.count("\n") == 1
    assert "in fail" in Path(err.split()[-1]).read_text()


@pytest.mark.parametrize("arguments", [["--debug", "image", "a.jpg"], ["image", "a.jpg", "--debug"]])
def test_debug_gives_the_traceback(fault, arguments):
    with pytest.raises(KeyError, match="a fault"):
        main(arguments)


def test_a_fault_in_one_photo_does_not_end_the_others(tmp_path, root, monkeypatch, capsys, aligner):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli_image, "load_aligner", lambda _: aligner)
    monkeypatch.setattr(cli_image, "has_display", lambda: False)
    photos = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for photo in photos:
        photo.write_bytes((root / "examples/inputs/astronaut.jpg").read_bytes())
    align = cli_image._Run._align

    def fail_at_the_first(self, photo):
        if photo.path == photos[0]:
            raise RecursionError("too deep")
        return align(self, photo)

    monkeypatch.setattr(cli_image._Run, "_align", fail_at_the_first)
    assert main(["image", *map(str, photos), "--out", str(tmp_path / "out")]) == FAILED
    assert f"{photos[0]}: a bug in tddfa: RecursionError: too deep" in capsys.readouterr().err
    assert (tmp_path / "out/b_2d_sparse.jpg").exists()


@posix
def test_closed_and_full_outputs(tmp_path):
    assert shell("tddfa models >&-", tmp_path) == (0, "")
    assert shell("tddfa models 2>&- >&-", tmp_path) == (0, "")
    if Path("/dev/full").exists():
        status, errors = shell("tddfa models >/dev/full", tmp_path)
        assert (status, errors) == (
            FAILED,
            "tddfa: error: standard output: No space left on device\n",
        )


@posix
def test_names_are_escaped_in_messages(tmp_path, capsys):
    assert main(["image", "a\x1b[2J\nb.jpg", "--out", str(tmp_path / "out")]) == FAILED
    out, err = capsys.readouterr()
    assert "a\\x1b[2J" in err
    assert "\x1b" not in out + err


@posix
@pytest.mark.parametrize("moment", ["tddfa.cli", "tddfa.cli.image", "tddfa.cli.installation.completion"])
def test_an_interrupt_while_modules_are_imported(moment):
    code = f"""
import importlib.abc, os, signal, sys
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {moment!r}:
            os.kill(os.getpid(), signal.SIGINT)
from tddfa.__main__ import main
sys.meta_path.insert(0, Interrupt())
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "models"], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_command_as_ctrl_c_does(name, monkeypatch, capsys):
    number = getattr(signal, name)
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    inherited = signal.signal(number, usual)  # under nohup, the tests inherit an ignored SIGHUP
    monkeypatch.setattr(cli_image, "camera_choice", lambda _: os.kill(os.getpid(), number) or time.sleep(60))
    try:
        assert main(["image", "a.jpg"]) == INTERRUPTED
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, inherited)
    assert "Traceback" not in capsys.readouterr().err


@posix
def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
