from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa.train.engine.workers import stream


@dataclass
class Squares:
    wrong_at: int = -1
    dies_at: int = -1

    def batch(self, number):
        if number == self.wrong_at:
            raise ValueError(f"number {number} is wrong")
        if number == self.dies_at:
            os._exit(3)
        return number**2


@pytest.mark.parametrize("workers", [1, 3])
def test_other_processes_make_the_same_batches_in_order(workers):
    # an image blurred by several threads leaves locks that a forked process would wait for
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 5)
    assert list(stream(Squares(), 4, 11, workers)) == list(stream(Squares(), 4, 11)) == [n * n for n in range(4, 11)]


def test_without_end_until_it_is_closed():
    batches = stream(Squares(), workers=1)
    assert [next(batches) for _ in range(5)] == [0, 1, 4, 9, 16]
    batches.close()


def test_an_exception_in_a_process_is_raised_here():
    batches = stream(Squares(wrong_at=2), 0, 5, 2)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="number 2 is wrong"):
        next(batches)


def test_a_process_that_ends_is_an_error(monkeypatch):
    monkeypatch.setattr("tddfa.train.engine.workers._POLL_S", 0.1)
    with pytest.raises(RuntimeError, match="ended with status 3"):
        list(stream(Squares(dies_at=1), 0, 5, 1))


def test_a_maker_that_cannot_be_pickled_is_an_error():
    task = Squares()
    task.batch = lambda number: number
    with pytest.raises((AttributeError, TypeError, ValueError), match=r"pickle|local object"):
        next(stream(task, 0, 2, 1))


def test_a_script_without_its_guard_fails_and_does_not_hang(tmp_path):
    """Its processes import it again, and die before they have read a task larger than a pipe holds."""
    script = tmp_path / "script.py"
    script.write_text(
        "from tddfa.train.engine import workers\n"
        "from tests_task import Large\n"
        "workers._POLL_S = 0.1\n"
        "list(workers.stream(Large(), 0, 2, 2))\n"
    )
    (tmp_path / "tests_task.py").write_text(
        "class Large:\n    def __init__(self):\n        self.load = bytes(10_000_000)\n"
        "    def batch(self, number):\n        return number\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ended with status 1" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("stop", [None, 6])
def test_the_processes_end_when_the_trainer_is_killed(tmp_path, stop):
    """As for want of memory: each waits with a batch that nobody takes, in the loop or after its last one."""
    (tmp_path / "script.py").write_text(
        "import os, signal\n"
        "from multiprocessing import active_children\n"
        "from tddfa.train.engine import workers\n"
        "from tests_task import Quick\n"
        "if __name__ == '__main__':\n"
        f"    batches = workers.stream(Quick(), 0, {stop}, 2)\n"
        "    next(batches)\n"
        "    print(*(process.pid for process in active_children()), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "tests_task.py").write_text(
        "class Quick:\n    def batch(self, number):\n        return bytes(1 << 20)\n"
    )
    # a file: a pipe would be read until the processes end
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([sys.executable, str(tmp_path / "script.py")], stdout=out, timeout=60, check=False)
    children = [int(number) for number in (tmp_path / "out.txt").read_text().split()]
    assert len(children) == 2
    deadline = time.monotonic() + 60
    try:
        while any(is_running(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for child in filter(is_running, children):
            os.kill(child, signal.SIGKILL)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
