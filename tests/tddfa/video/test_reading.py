"""Sources of frames: files, cameras, URLs, folders, iterables."""

import functools
import http.server
import itertools
import logging
import math
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from builders_video import RATE, VARYING, damaged, make_video, moving_square, packets, sine, square_left
from tddfa import video
from tddfa._shared import image_io
from tddfa.video import Frame, VideoError, Writer, frames, open_source, threaded


def test_a_video_is_read(short_video):
    with open_source(short_video) as reader:
        assert (reader.name, reader.size, reader.fps, reader.count) == (str(short_video), (96, 64), 24, 48)
        assert reader.has_audio
        assert not reader.live
        seen = list(reader)
    assert [frame.index for frame in seen] == list(range(48))
    np.testing.assert_allclose([frame.time for frame in seen], np.arange(48) / 24, atol=1e-6)
    for frame in seen:
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert abs(square_left(frame.image) - square_left(moving_square(frame.index))) <= 1
    assert np.abs(seen[5].image.astype(int) - moving_square(5)).mean() < 2.5


def test_frames_of_varying_rate_keep_their_times(varying):
    np.testing.assert_allclose([frame.time for frame in frames(varying)], VARYING, atol=1e-4)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(48)),
        (0, 0, [0]),
        (10, 12, [10, 11, 12]),
        (45, 99, [45, 46, 47]),
        (48, None, []),
        (None, 2, range(3)),
    ],
)
def test_start_and_end(short_video, start, end, expected):
    seen = list(frames(short_video, start=start, end=end))
    assert [frame.index for frame in seen] == list(expected)
    assert [square_left(frame.image) for frame in seen] == pytest.approx(
        [square_left(moving_square(i)) for i in expected], abs=1
    )


@pytest.mark.parametrize("arguments", [{"start": -1}, {"end": -1}, {"start": 5, "end": 4}])
def test_invalid_ranges(short_video, arguments):
    with pytest.raises(ValueError, match=r"^(start|end): expected"):
        frames(short_video, **arguments)


@pytest.mark.parametrize("arguments", [{"start": 1.5}, {"end": math.nan}, {"start": "a"}])
def test_ranges_are_whole_numbers(short_video, arguments):
    with pytest.raises(TypeError, match=r"^(start|end): expected a whole number"):
        frames(short_video, **arguments)


def test_a_reader_is_iterable_once(short_video):
    with open_source(short_video) as reader:
        assert open_source(reader) is reader
        assert len(list(reader)) == 48
        with pytest.raises(ValueError, match="iterable once"):
            iter(reader)


def test_a_reader_that_is_closed_early_ends(short_video, caplog):
    reader = open_source(short_video)
    seen = 0
    for _ in reader:
        seen += 1
        reader.close()
    reader.close()
    assert seen == 1
    assert not caplog.records


def test_a_reader_that_is_closed_while_a_thread_reads_ends(short_video):
    for i in range(8):
        reader = open_source(short_video)
        ahead = threaded(reader, 2 + i)
        next(ahead)
        reader.close()
        assert len(list(ahead)) <= 4 + i


def test_odd_sizes_are_read(tmp_path):
    path = make_video(tmp_path / "odd.avi", 6, size=(95, 63), codec="mpeg4")
    seen = list(frames(path))
    assert [frame.image.shape for frame in seen] == [(63, 95, 3)] * 6
    # the last column and row too
    assert np.abs(seen[2].image.astype(int) - moving_square(2, 95, 63)).max(axis=(0, 1)).max() < 110
    assert np.abs(seen[2].image[:, -2:].astype(int) - moving_square(2, 95, 63)[:, -2:]).mean() < 8
    assert np.abs(seen[2].image[-2:].astype(int) - moving_square(2, 95, 63)[-2:]).mean() < 8


def test_frames_whose_size_changes_are_given_as_they_are(tmp_path):
    path = tmp_path / "two.h264"
    parts = [make_video(tmp_path / f"{w}.h264", 8, size=(w, 64), container="h264") for w in (96, 160)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    shapes = [frame.image.shape for frame in frames(path)]
    assert shapes == [(64, 96, 3)] * 8 + [(64, 160, 3)] * 8
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        for frame in frames(path):
            writer.write(frame.image, frame.time)
    assert [frame.image.shape for frame in frames(tmp_path / "out.mp4")] == [(64, 96, 3)] * 16


def test_frames_without_times_get_times(tmp_path):
    path = make_video(tmp_path / "raw.h264", 10, container="h264")
    times = np.array([frame.time for frame in frames(path)])
    assert times[0] == 0
    np.testing.assert_allclose(np.diff(times), times[1])


def test_times_increase_when_the_clock_jumps(tmp_path):
    times = [0, 0.5, 1.0, 90000.0, 90000.5, 90001.0, 3.0, 3.5]
    path = tmp_path / "in.h264"
    make_video(path, 8, container="h264")
    with open_source(path) as reader:
        reader._step, reader._origin = 0.1, None

        class Stamp:
            time_base = Fraction(1, 10)

        seen = []
        for stamp in times:
            Stamp.pts = None if stamp is None else round(stamp * 10)
            seen.append(reader._time(Stamp, seen[-1] if seen else -math.inf))
        np.testing.assert_allclose(seen, [0, 0.5, 1.0, 1.1, 1.6, 2.1, 2.2, 2.7])
        Stamp.pts = None
        assert reader._time(Stamp, 2.7) == pytest.approx(2.8)


def test_short_clips_that_were_joined_follow_each_other(tmp_path):
    part = make_video(tmp_path / "part.ts", 8, container="mpegts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    np.testing.assert_allclose([frame.time for frame in frames(tmp_path / "joined.ts")], np.arange(16) / 24, atol=1e-3)


def test_damage_in_the_middle_is_skipped_with_one_warning(short_video, tmp_path, caplog):
    seen = list(frames(damaged(short_video, tmp_path / "damaged.mp4")))
    assert 24 <= len(seen) <= 48
    assert abs(square_left(seen[-1].image) - square_left(moving_square(47))) <= 1
    assert seen[-1].time == pytest.approx(47 / 24, abs=1e-3)  # times do not shift
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "damaged.mp4: " in record.getMessage()
    assert "damaged frame" in record.getMessage()


def test_damage_is_reported_when_the_reader_stops_early(short_video, tmp_path, caplog):
    source = frames(damaged(short_video, tmp_path / "damaged.mp4"))
    for frame in source:
        if frame.time > 1.5:
            break
    source.close()
    assert len(caplog.records) == 1


def test_the_readable_part_of_a_truncated_video_is_read(tmp_path, short_video, caplog):
    whole = tmp_path / "whole.mp4"
    with Writer(whole, fps=24) as writer:  # its index is in front
        for i in range(48):
            writer.write(moving_square(i))
    data = whole.read_bytes()
    begin = data.find(b"mdat")
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: begin + (len(data) - begin) // 2])
    seen = list(frames(path))
    assert 10 <= len(seen) <= 40
    assert [abs(square_left(f.image) - square_left(moving_square(f.index))) <= 1 for f in seen[:-2]]
    assert "cut.mp4: the file is cut short" in caplog.text
    path.write_bytes(data[:begin])
    with pytest.raises(VideoError, match=r"^[^\n]*cut\.mp4: not one frame"):
        list(frames(path))


@pytest.mark.parametrize("start", [0, 3000])  # ms
def test_a_truncated_matroska_file_is_reported_and_a_whole_one_is_not(tmp_path, caplog, start):
    whole = tmp_path / "whole.mkv"
    with av.open(str(whole), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(moving_square(i, 160, 120), format="bgr24")
            frame.pts, frame.time_base = start + 40 * i, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert len(list(frames(whole))) == 75
    assert not caplog.records
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    assert 10 <= len(list(frames(tmp_path / "cut.mkv"))) <= 65
    assert "cut.mkv: the file is cut short: " in caplog.text
    assert caplog.text.rstrip().endswith("of 3.0 s")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"hello world\n" * 100, "not a video"),
        ("text.txt", b"hello world\n" * 100, "not a video"),
        ("empty.mp4", b"", "the file is empty"),
        ("noise.mkv", bytes(range(256)) * 20, "not a video"),
        ("short.mp4", b"\0\0\0\x18ftypmp42", "not a video"),
        ("text.webp", b"hello world\n" * 100, "not an image"),
        ("text.png", b"hello world\n" * 100, "not an image"),
        ("text.gif", b"hello world\n" * 100, "not a video"),
    ],
)
def test_files_that_are_not_videos(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message) as caught:
        list(frames(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"nothing\.mp4: no such file$"):
        next(frames(tmp_path / "nothing.mp4"))
    with pytest.raises(VideoError, match=r"no such file$"):
        open_source(str(tmp_path / "a: 50%03d.mp4"))


def test_a_video_without_its_end(short_video, tmp_path):
    path = tmp_path / "cut.mp4"  # its index was behind what is left
    path.write_bytes(short_video.read_bytes()[:3000])
    with pytest.raises(VideoError, match=r"cut\.mp4: not a video, or one that is damaged or cut short"):
        open_source(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        track = output.add_stream("aac", rate=RATE)
        track.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sine(1024), format="fltp", layout="mono")
        frame.sample_rate = RATE
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    with pytest.raises(VideoError, match=r"sound\.m4a: it has no video"):
        open_source(path)


def test_unusual_characters_in_names(short_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a: b %03d é.mp4", "http:x.mp4", "-i.mp4"):
        (tmp_path / name).write_bytes(short_video.read_bytes())
        assert len(list(frames(name))) == 48


def test_frames_of_too_many_pixels_are_refused(short_video, tmp_path, monkeypatch):
    monkeypatch.setattr(image_io, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(VideoError, match=r"short_video\.mp4: expected at most 0 million pixels a frame, got 96 x 64"):
        open_source(short_video)
    cv2.imwrite(str(tmp_path / "x.webp"), moving_square(0))
    with pytest.raises(VideoError, match="million pixels"):
        open_source(tmp_path / "x.webp")


@pytest.mark.parametrize("source", [98, "98", np.int64(98)])
def test_a_camera_that_is_missing(source, capfd):
    with pytest.raises(VideoError, match=r"^camera 98: no such camera, or another program uses it$"):
        next(frames(source))
    assert capfd.readouterr().err == ""


class FakeCamera:
    """OpenCV's VideoCapture."""

    def __init__(self, index, reads=()):
        self.reads = iter(
            [(True, moving_square(i)) for i in range(4)] + [(False, None)] * 2 + [(True, moving_square(9))]
        )
        self.released = 0

    def isOpened(self):
        return True

    def get(self, key):
        return {cv2.CAP_PROP_FRAME_WIDTH: 96.0, cv2.CAP_PROP_FRAME_HEIGHT: 64.0, cv2.CAP_PROP_FPS: 30.0}[key]

    def read(self):
        return next(self.reads, (False, None))

    def release(self):
        self.released += 1


def test_a_camera(monkeypatch, caplog):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with open_source("0") as reader:
        assert (reader.name, reader.size, reader.fps, reader.count, reader.live) == (
            "camera 0",
            (96, 64),
            30,
            None,
            True,
        )
        seen = list(reader)
    assert [frame.index for frame in seen] == list(range(5))
    assert seen[0].time == 0
    assert all(a.time <= b.time for a, b in itertools.pairwise(seen))
    assert reader._capture.released
    assert "camera 0: it stopped after 5 frames" in caplog.text
    monkeypatch.setattr(FakeCamera, "read", lambda self: (False, None))
    with pytest.raises(VideoError, match="camera 0: it gives no frames"):
        list(frames(0))


def test_an_url_without_a_server():
    with pytest.raises(VideoError, match=r"^http://127\.0\.0\.1:9/x\.mp4: cannot be opened: ") as caught:
        open_source("http://user:secret@127.0.0.1:9/x.mp4")
    assert "secret" not in str(caught.value)


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_video_from_a_server(short_video, tmp_path, server):
    (tmp_path / "short_video.mp4").write_bytes(short_video.read_bytes())
    address = f"{server}/short_video.mp4"
    with open_source(address) as reader, Writer(tmp_path / "out.mp4", fps=24, audio_from=address) as writer:
        assert (reader.name, reader.live, reader.count) == (address, False, 48)
        for frame in reader:
            writer.write(frame.image, frame.time)
    assert packets(tmp_path / "out.mp4") == packets(short_video)
    with pytest.raises(VideoError, match=r"nothing\.mp4: cannot be opened: .*404"):
        open_source(f"{server}/nothing.mp4")


def test_a_file_url(short_video):
    with open_source(f"file://{short_video}") as reader:
        assert not reader.live
        assert len(list(reader)) == 48


def test_a_folder_of_images(tmp_path, caplog):
    for i in (0, 2, 10, 1):
        cv2.imwrite(str(tmp_path / f"f{i}.png"), moving_square(i, 60 + i, 40))
    (tmp_path / "f3.png").write_bytes(b"no image")
    (tmp_path / "f4.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "notes.txt").write_text("no image either")
    (tmp_path / "._f0.png").write_bytes(b"a sidecar of macOS")
    with open_source(str(tmp_path)) as reader:
        assert (reader.size, reader.fps, reader.count, reader.has_audio) == ((60, 40), None, 6, False)
        seen = list(reader)
    assert [frame.image.shape[1] for frame in seen] == [60, 61, 62, 70]
    np.testing.assert_array_equal(seen[3].image, moving_square(10, 70, 40))
    assert [frame.index for frame in seen] == [0, 1, 2, 3]
    assert [frame.time for frame in seen] == [0, 0.04, 0.08, 0.12]
    [record] = caplog.records
    reasons = f"{tmp_path / 'f3.png'}: not an image; {tmp_path / 'f4.png'}: no such file"
    assert record.getMessage() == f"{tmp_path}: 2 of 6 images skipped: {reasons}"
    assert [frame.image.shape[1] for frame in frames(tmp_path, start=1, end=2)] == [61, 62]


def test_folders_without_images(tmp_path):
    with pytest.raises(VideoError, match="no image in this folder"):
        open_source(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(VideoError, match="none of 2 images can be read"):
        open_source(tmp_path)


def test_an_image_is_a_video_of_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), moving_square(3))
    [frame] = frames(tmp_path / "x.png")
    np.testing.assert_array_equal(frame.image, moving_square(3))


def test_an_iterable_of_images():
    made = []

    def source():
        for i in itertools.count():  # without an end
            made.append(i)
            yield moving_square(i)[:, ::-1]  # not contiguous

    seen = list(frames(source(), start=2, end=4))
    assert [frame.index for frame in seen] == [2, 3, 4]
    assert made == [0, 1, 2, 3, 4]
    assert seen[0].image.flags.c_contiguous
    assert open_source([moving_square(0)] * 3).count == 3
    assert [frame.time for frame in frames(np.stack([moving_square(0)] * 3))] == [0, 0.04, 0.08]
    assert [frame.time for frame in frames([Frame(moving_square(0), 7, 1.5)])] == [1.5]
    assert list(frames([])) == []


@pytest.mark.parametrize("source", [None, 1.5, b"short_video.mp4", True, np.zeros((8, 8, 3), np.uint8)])
def test_invalid_sources(source):
    with pytest.raises(TypeError, match=r"^source: expected"):
        open_source(source)


def test_an_empty_string_is_no_source():
    with pytest.raises(VideoError, match=r"^source: expected a path"):
        open_source("")


def test_invalid_images():
    with pytest.raises(TypeError, match=r"^image 1: expected dtype uint8"):
        list(frames([moving_square(0), moving_square(0).astype(float)]))
    for arguments in ((moving_square(0), -1, 0.0), (moving_square(0), 0, math.nan), (moving_square(0)[..., 0], 0, 0.0)):
        with pytest.raises(ValueError, match=r"^Frame\."):
            Frame(*arguments)


# Real films


@pytest.mark.evaluation
@pytest.mark.parametrize("name", ["carphone.mp4", "no_face.mp4"])
def test_real_videos(evaluation, tmp_path, name, caplog):
    path = evaluation / "video" / name
    with open_source(path) as reader, Writer(tmp_path / "out.mp4", fps=reader.fps, audio_from=path) as writer:
        count, size = reader.count, reader.size
        before = [(writer.write(frame.image, frame.time), frame.time)[1] for frame in threaded(reader)]
    with open_source(tmp_path / "out.mp4") as reader:
        width, height = size
        assert reader.size == (width + width % 2, height + height % 2)
        after = [frame.time for frame in reader]
    assert len(before) == count
    np.testing.assert_allclose(np.array(after) - after[0], np.array(before) - before[0], atol=1e-3)
    assert not caplog.records
    assert video.TICKS_PER_SECOND % 1000 == 0
