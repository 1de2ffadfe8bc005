"""Pipeline stages in threads, and the newest frame of a live source."""

import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builders_video import Stop, moving_square, threads
from tddfa.video import Frame, Live, Reader, VideoError, Writer, frames, live, open_source, threaded


def test_threaded_keeps_the_order():
    assert list(threaded(range(200), 3)) == list(range(200))
    assert list(threaded([])) == []
    assert list(threaded(threaded(threaded(iter(range(50)), 1), 2), 3)) == list(range(50))


def test_threaded_runs_in_another_thread():
    [thread] = threaded(threading.current_thread() for _ in range(1))
    assert thread is not threading.current_thread()


def test_threaded_is_bounded():
    made = []

    def source():
        for i in range(50):
            made.append(i)
            yield i

    taken = threaded(source(), 3)
    for i in range(10):
        assert next(taken) == i
        time.sleep(0.005)
        assert len(made) - (i + 1) <= 3
    time.sleep(0.02)
    assert len(made) == 13  # and it is really ahead
    taken.close()


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), Stop()])
def test_threaded_raises_the_iterable_s_exception(error):
    def source():
        yield 1
        yield 2
        raise error

    taken, seen = threaded(source()), []
    with pytest.raises(type(error)) as caught:
        for item in taken:
            seen.append(item)
    assert seen == [1, 2]
    assert caught.value is error


def test_threaded_stops_early():
    closed = []

    def source(name, upstream):
        try:
            yield from upstream
        finally:
            closed.append(name)

    inner = threaded(source("inner", itertools.count()), 2)
    outer = threaded(source("outer", inner), 2)
    assert [next(outer) for _ in range(3)] == [0, 1, 2]
    outer.close()
    assert not threads()
    assert sorted(closed) == ["inner", "outer"]


def test_threaded_stops_when_it_is_garbage_collected():
    taken = threaded(itertools.count())
    next(taken)
    del taken
    gc.collect()
    assert not threads()
    threaded(itertools.count())  # never begun


def test_threaded_stops_when_its_consumer_fails():
    with pytest.raises(ZeroDivisionError):
        for item in threaded(itertools.count()):
            1 / (3 - item)
    gc.collect()
    assert not threads()


def test_threaded_depth():
    with pytest.raises(ValueError, match="depth: expected 1 or more, got 0"):
        threaded([], 0)


def test_threaded_video(short_video, tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        for frame in threaded(threaded(frames(short_video))):
            writer.write(frame.image, frame.time)
    assert len(list(frames(tmp_path / "out.mp4"))) == 48


class Ticking(Reader):
    """A camera of one frame every few milliseconds."""

    def __init__(self, count, period=0.004, error=None):
        super().__init__("ticking")
        self.live = True
        self.number, self.period, self.error = count, period, error

    def _frames(self, start):
        for i in range(self.number):
            yield Frame(moving_square(i), i, i * self.period)
            time.sleep(self.period)
        if self.error:
            raise self.error


def test_live_gives_the_newest_and_drops_the_rest():
    with live(Ticking(60)) as newest:
        seen = []
        for frame in newest:
            seen.append(frame.index)
            assert newest.latency < 0.2
            time.sleep(0.02)
    assert seen == sorted(set(seen))
    assert len(seen) < 40
    assert seen[-1] == 59  # the last one is given
    assert len(seen) + newest.dropped == 60


def test_live_stops_early():
    newest = live(Ticking(10**6))
    assert isinstance(newest, Live)
    assert next(newest).index >= 0
    newest.close()
    newest.close()
    assert not threads()
    assert list(newest) == []


def test_live_raises_the_reader_s_exception():
    with live(Ticking(2, error=VideoError("ticking: gone"))) as newest:
        with pytest.raises(VideoError, match="gone"):
            list(newest)
        assert list(newest) == []


def test_a_video_plays_at_its_own_pace(short_video):
    with open_source(short_video) as reader, live(reader) as newest:
        began = time.perf_counter()
        times = [next(newest).time for _ in range(8)]
        elapsed = time.perf_counter() - began
    assert elapsed == pytest.approx(times[-1], abs=0.1)
    assert newest.dropped <= 3


def thread_count():
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
def test_closing_ends_the_threads_of_decoders_and_encoders(short_video, tmp_path):
    before = thread_count()
    with open_source(short_video) as reader:
        for frame in reader.frames(0, 3):
            image = frame.image
        assert thread_count() > before  # else this machine decodes without threads, and the test shows nothing
    assert thread_count() == before
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=short_video) as writer:
        for _ in range(12):
            writer.write(image)
        assert thread_count() > before
    assert thread_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("how", ["drops the reader", "exits as Python does"])
def test_a_forked_process_ends_though_a_reader_was_closed_before(short_video, how):
    code = """
import os, sys, time
from tddfa import video
with video.open_source(sys.argv[1]) as reader:
    for frame in reader.frames(0, 3):
        pass
child = os.fork()
if not child:
    if sys.argv[2] == "exits as Python does":
        sys.exit(0)
    del reader
    os._exit(0)
for _ in range(500):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.02)
os.kill(child, 9)
sys.exit("the forked process does not end")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(short_video), how], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
