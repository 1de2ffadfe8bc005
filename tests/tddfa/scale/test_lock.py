"""Two drivers on one folder: the second stops with a line; a dead one does not block the next."""

import itertools
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from tddfa.scale.lock import NAME, LockedError, locked
from tddfa.scale.stores import Store

HOLDS = """
import sys, time
from tddfa.scale.lock import locked
from tddfa.scale.stores import Store
with locked(Store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def memory():
    store = Store("memory://lock")
    yield store
    store.files.store.clear()


def test_a_second_driver_on_a_disk_stops(do, photos, tmp_path):
    store = Store(str(tmp_path / "out"))
    message = rf"out: another run writes to this folder \(process {os.getpid()} on "
    with locked(store), pytest.raises(LockedError, match=message):
        do(photos / "face_0.png")
    assert do(photos / "face_0.png").faces == 1


def test_a_driver_that_was_killed_on_a_disk_blocks_nobody(tmp_path):
    store = Store(str(tmp_path / "out"))
    with subprocess.Popen([sys.executable, "-c", HOLDS, store.url], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(LockedError, match=f"process {other.pid} on "), locked(store):
                pass
        finally:
            os.kill(other.pid, signal.SIGKILL)
    with locked(store):
        assert str(os.getpid()).encode() in store.read(NAME)


def test_a_second_driver_on_an_object_store_stops(memory):
    message = rf"process {os.getpid()} on "
    with locked(memory, beat=0.02), pytest.raises(LockedError, match=message), locked(memory, beat=0.02, silence=60):
        pass
    assert memory.read(NAME) is None


def test_a_lock_that_is_read_while_it_is_written_names_its_owner(memory, monkeypatch):
    memory.write(NAME, b'{"host": "other", "process": 12, "token": "x", "count": 5}')
    contents = itertools.chain([memory.read(NAME)] * 2, itertools.repeat(b""))
    monkeypatch.setattr(type(memory), "read", lambda *_: next(contents))
    with pytest.raises(LockedError, match="process 12 on other"), locked(memory, beat=0.02, silence=60):
        pass


def test_a_driver_without_a_heartbeat_on_an_object_store_is_taken_over(memory):
    memory.write(NAME, b'{"host": "gone", "process": 1, "token": "x", "count": 5}')
    with locked(memory, beat=60, silence=0.05):
        assert b"gone" not in memory.read(NAME)
    assert memory.read(NAME) is None


def test_a_lock_that_was_taken_over_stops_its_driver(memory):
    with locked(memory, beat=0.01) as lock:
        lock.check()
        while lock.lost is None:  # the heartbeat may write once more before it sees the other's
            memory.write(NAME, b'{"host": "other", "process": 2, "token": "y", "count": 0}')
        with pytest.raises(LockedError, match="another run has taken over this folder"):
            lock.check()
    assert b"other" in memory.read(NAME)
