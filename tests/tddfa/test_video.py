import functools
import gc
import http.server
import itertools
import logging
import math
import threading
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from tddfa import video
from tddfa._shared import image_io
from tddfa.video import Frame, Live, Reader, VideoError, Writer, frames, live, open_source, threaded

RATE = 44100
VARYING = [0.0, 0.04, 0.05, 0.2, 0.201, 0.7, 0.75, 1.1, 1.15, 1.2, 2.0, 2.033]


class Stop(BaseException):
    """Not an Exception: as an interrupt from the keyboard."""


def picture(i, width=96, height=64):
    """A square that moves over a slope of colours; its place tells the index."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    left = 4 + (2 * i) % (width - 24)
    image[20:36, left : left + 16] = (30, 60, 230)
    return image


def place(image):
    """Left edge of the square of `picture`."""
    row = image[28].astype(int)
    return int(np.argmax((row[:, 2] > 150) & (row[:, 0] < 140)))


def sine(count, channels=1):
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


def make(path, count=48, times=None, size=(96, 64), codec="libx264", sound=None, container=None, gop=12, seconds=None):
    """A film made with PyAV alone; `sound` is a codec."""
    times = [i / 24 for i in range(count)] if times is None else times
    with av.open(str(path), "w", format=container) as output:
        options = {"crf": "8", "preset": "ultrafast", "g": str(gop)} if codec == "libx264" else {"qscale": "1"}
        stream = output.add_stream(codec, rate=24, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base = Fraction(1, 24 if codec != "libx264" else 24000)
        if sound:
            track = output.add_stream(sound, rate=RATE)
            track.layout = "mono"
        for i, t in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="bgr24")
            frame.pts, frame.time_base = round(t / base), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound:
            wave = sine(round(RATE * (seconds or times[-1] + 1 / 24)))
            for at in range(0, wave.shape[1], 1024):
                piece = wave[:, at : at + 1024]
                if sound == "pcm_s16le":
                    frame = av.AudioFrame.from_ndarray((piece * 32767).astype(np.int16), format="s16", layout="mono")
                else:
                    frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                output.mux(track.encode(frame))
            output.mux(track.encode(None))
    return path


def packets(path, kind="audio"):
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(**{kind: 0}) if p.size]


def heard(path):
    """The samples of the sound with their time of beginning."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(audio=0))
    return float(decoded[0].time), np.concatenate([frame.to_ndarray()[0] for frame in decoded])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("tddfa")}


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert not threads()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make(tmp_path_factory.mktemp("film") / "film.mp4", sound="aac")


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    return make(tmp_path_factory.mktemp("varying") / "varying.mp4", times=VARYING, sound="aac")


# Reading


def test_a_film_is_read(film):
    with open_source(film) as reader:
        assert (reader.name, reader.size, reader.fps, reader.count) == (str(film), (96, 64), 24, 48)
        assert reader.has_audio
        assert not reader.live
        seen = list(reader)
    assert [frame.index for frame in seen] == list(range(48))
    np.testing.assert_allclose([frame.time for frame in seen], np.arange(48) / 24, atol=1e-6)
    for frame in seen:
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert abs(place(frame.image) - place(picture(frame.index))) <= 1
    assert np.abs(seen[5].image.astype(int) - picture(5)).mean() < 2.5


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
def test_start_and_end(film, start, end, expected):
    seen = list(frames(film, start=start, end=end))
    assert [frame.index for frame in seen] == list(expected)
    assert [place(frame.image) for frame in seen] == pytest.approx([place(picture(i)) for i in expected], abs=1)


@pytest.mark.parametrize("arguments", [{"start": -1}, {"end": -1}, {"start": 5, "end": 4}])
def test_ranges_that_are_none(film, arguments):
    with pytest.raises(ValueError, match=r"^(start|end): expected"):
        frames(film, **arguments)


def test_a_reader_is_iterable_once(film):
    with open_source(film) as reader:
        assert open_source(reader) is reader
        assert len(list(reader)) == 48
        with pytest.raises(ValueError, match="iterable once"):
            iter(reader)


def test_a_reader_that_is_closed_early_ends(film, caplog):
    reader = open_source(film)
    seen = 0
    for _ in reader:
        seen += 1
        reader.close()
    reader.close()
    assert seen == 1
    assert not caplog.records


def test_a_reader_that_is_closed_while_a_thread_reads_ends(film):
    for i in range(8):
        reader = open_source(film)
        ahead = threaded(reader, 2 + i)
        next(ahead)
        reader.close()
        assert len(list(ahead)) <= 4 + i


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((1, 0, 0, 1), lambda image: image),
    ],
)
def test_turns_noted_in_the_file_are_carried_out(film, tmp_path, matrix, turn):
    data = bytearray(film.read_bytes())
    header = data.find(b"tkhd") + 4 + 40  # the matrix: a b u c d v x y w, in 16.16
    for at, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[header + 4 * at : header + 4 * at + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    straight = next(frames(film)).image
    with open_source(path) as reader:
        frame = next(iter(reader))
        assert reader.size == (frame.image.shape[1], frame.image.shape[0])
    np.testing.assert_array_equal(frame.image, turn(straight))
    assert frame.image.flags.c_contiguous


def test_odd_sizes_are_read(tmp_path):
    path = make(tmp_path / "odd.avi", 6, size=(95, 63), codec="mpeg4")
    seen = list(frames(path))
    assert [frame.image.shape for frame in seen] == [(63, 95, 3)] * 6
    # the last column and row too
    assert np.abs(seen[2].image.astype(int) - picture(2, 95, 63)).max(axis=(0, 1)).max() < 110
    assert np.abs(seen[2].image[:, -2:].astype(int) - picture(2, 95, 63)[:, -2:]).mean() < 8
    assert np.abs(seen[2].image[-2:].astype(int) - picture(2, 95, 63)[-2:]).mean() < 8


def test_frames_whose_size_changes_are_given_as_they_are(tmp_path):
    path = tmp_path / "two.h264"
    parts = [make(tmp_path / f"{w}.h264", 8, size=(w, 64), container="h264") for w in (96, 160)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    shapes = [frame.image.shape for frame in frames(path)]
    assert shapes == [(64, 96, 3)] * 8 + [(64, 160, 3)] * 8
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        for frame in frames(path):
            writer.write(frame.image, frame.time)
    assert [frame.image.shape for frame in frames(tmp_path / "out.mp4")] == [(64, 96, 3)] * 16


def test_a_film_without_times_gets_some(tmp_path):
    path = make(tmp_path / "raw.h264", 10, container="h264")
    times = np.array([frame.time for frame in frames(path)])
    assert times[0] == 0
    np.testing.assert_allclose(np.diff(times), times[1])


def test_clocks_that_jump_go_on(tmp_path):
    times = [0, 0.5, 1.0, 90000.0, 90000.5, 90001.0, 3.0, 3.5]
    path = tmp_path / "in.h264"
    make(path, 8, container="h264")
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


def damaged(film, path, first=0.35, last=0.45):
    data = bytearray(film.read_bytes())
    at = data.find(b"mdat") + 4
    length = int.from_bytes(data[at - 8 : at - 4], "big") - 8
    noise = np.random.default_rng(3).integers(0, 256, int(length * (last - first)), dtype=np.uint8)
    data[at + int(length * first) : at + int(length * first) + len(noise)] = noise.tobytes()
    path.write_bytes(data)
    return path


def test_damage_in_the_middle_is_skipped_with_one_warning(film, tmp_path, caplog):
    seen = list(frames(damaged(film, tmp_path / "damaged.mp4")))
    assert 24 <= len(seen) <= 48
    assert abs(place(seen[-1].image) - place(picture(47))) <= 1
    assert seen[-1].time == pytest.approx(47 / 24, abs=1e-3)  # times do not shift
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "damaged.mp4: " in record.getMessage()
    assert "damaged frame" in record.getMessage()


def test_damage_is_told_when_the_reader_stops_early(film, tmp_path, caplog):
    source = frames(damaged(film, tmp_path / "damaged.mp4"))
    for frame in source:
        if frame.time > 1.5:
            break
    source.close()
    assert len(caplog.records) == 1


def test_of_a_truncated_film_what_is_there_is_read(tmp_path, film, caplog):
    whole = tmp_path / "whole.mp4"
    with Writer(whole, fps=24) as writer:  # its index is in front
        for i in range(48):
            writer.write(picture(i))
    data = whole.read_bytes()
    begin = data.find(b"mdat")
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: begin + (len(data) - begin) // 2])
    seen = list(frames(path))
    assert 10 <= len(seen) <= 40
    assert [abs(place(f.image) - place(picture(f.index))) <= 1 for f in seen[:-2]]
    assert "cut.mp4: the file is cut short" in caplog.text
    path.write_bytes(data[:begin])
    with pytest.raises(VideoError, match=r"^[^\n]*cut\.mp4: not one frame"):
        list(frames(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"hello world\n" * 100, "not a video"),
        ("text.txt", b"hello world\n" * 100, "not a video"),
        ("empty.mp4", b"", "the file is empty"),
        ("noise.mkv", bytes(range(256)) * 20, "not a video"),
        ("short.mp4", b"\0\0\0\x18ftypmp42", "not a video"),
        ("text.webp", b"hello world\n" * 100, "not an image or video"),
        ("text.png", b"hello world\n" * 100, "not a picture"),
        ("text.gif", b"hello world\n" * 100, "not a video"),
    ],
)
def test_what_is_no_video(tmp_path, name, content, message):
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


def test_a_film_without_its_end(film, tmp_path):
    path = tmp_path / "cut.mp4"  # its index was behind what is left
    path.write_bytes(film.read_bytes()[:3000])
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
    with pytest.raises(VideoError, match=r"sound\.m4a: there are no moving pictures"):
        open_source(path)


def test_names_with_odd_signs(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a: b %03d é.mp4", "http:x.mp4", "-i.mp4"):
        (tmp_path / name).write_bytes(film.read_bytes())
        assert len(list(frames(name))) == 48


def test_frames_of_too_many_pixels_are_refused(film, tmp_path, monkeypatch):
    monkeypatch.setattr(image_io, "MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(VideoError, match=r"film\.mp4: expected at most 0 million pixels a frame, got 96 x 64"):
        open_source(film)
    cv2.imwrite(str(tmp_path / "x.webp"), picture(0))
    with pytest.raises(VideoError, match="million pixels"):
        open_source(tmp_path / "x.webp")


@pytest.mark.parametrize("source", [98, "98", np.int64(98)])
def test_a_camera_that_is_missing(source, capfd):
    with pytest.raises(VideoError, match=r"^camera 98: there is no such camera, or another program has it$"):
        next(frames(source))
    assert capfd.readouterr().err == ""


class FakeCamera:
    """OpenCV's VideoCapture."""

    def __init__(self, index, reads=()):
        self.reads = iter([(True, picture(i)) for i in range(4)] + [(False, None)] * 2 + [(True, picture(9))])
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
    assert "camera 0: it gives no pictures any more, after 5" in caplog.text
    monkeypatch.setattr(FakeCamera, "read", lambda self: (False, None))
    with pytest.raises(VideoError, match="camera 0: it gives no picture"):
        list(frames(0))


def test_an_address_nobody_listens_at():
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


def test_a_film_of_a_server(film, tmp_path, server):
    (tmp_path / "film.mp4").write_bytes(film.read_bytes())
    address = f"{server}/film.mp4"
    with open_source(address) as reader, Writer(tmp_path / "out.mp4", fps=24, audio_from=address) as writer:
        assert (reader.name, reader.live, reader.count) == (address, False, 48)
        for frame in reader:
            writer.write(frame.image, frame.time)
    assert packets(tmp_path / "out.mp4") == packets(film)
    with pytest.raises(VideoError, match=r"nothing\.mp4: cannot be opened: .*404"):
        open_source(f"{server}/nothing.mp4")


def test_a_file_by_its_address(film):
    with open_source(f"file://{film}") as reader:
        assert not reader.live
        assert len(list(reader)) == 48


def test_a_folder_of_pictures(tmp_path, caplog):
    for i in (0, 2, 10, 1):
        cv2.imwrite(str(tmp_path / f"f{i}.png"), picture(i, 60 + i, 40))
    (tmp_path / "f3.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    with open_source(str(tmp_path)) as reader:
        assert (reader.size, reader.fps, reader.count, reader.has_audio) == ((60, 40), None, 5, False)
        seen = list(reader)
    assert [frame.image.shape[1] for frame in seen] == [60, 61, 62, 70]
    np.testing.assert_array_equal(seen[3].image, picture(10, 70, 40))
    assert [frame.index for frame in seen] == [0, 1, 2, 3]
    assert [frame.time for frame in seen] == [0, 0.04, 0.08, 0.12]
    [record] = caplog.records
    assert "1 damaged pictures were skipped" in record.getMessage()
    assert [frame.image.shape[1] for frame in frames(tmp_path, start=1, end=2)] == [61, 62]


def test_folders_without_pictures(tmp_path):
    with pytest.raises(VideoError, match="no picture in this folder"):
        open_source(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(VideoError, match="not one of 2 pictures can be read"):
        open_source(tmp_path)


def test_a_picture_is_a_film_of_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), picture(3))
    [frame] = frames(tmp_path / "x.png")
    np.testing.assert_array_equal(frame.image, picture(3))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_moving_pictures(tmp_path, suffix):
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(picture(i)[..., ::-1])) for i in range(5)]
    path = tmp_path / f"x{suffix}"
    more = {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 50, 200, 100, 100], **more)
    seen = list(frames(path))
    np.testing.assert_allclose([frame.time for frame in seen], [0, 0.1, 0.15, 0.35, 0.45], atol=1e-6)
    for frame in seen:
        assert np.abs(frame.image.astype(int) - picture(frame.index)).mean() < (9 if suffix == ".gif" else 0.1)


def test_the_pages_of_a_tiff_are_frames(tmp_path):
    from PIL import Image

    pages = [Image.fromarray(np.ascontiguousarray(picture(i)[..., ::-1])) for i in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with open_source(tmp_path / "x.tif") as reader:
        assert (reader.count, reader.size) == (3, (96, 64))
        read = list(reader)
    assert [frame.time for frame in read] == [0, 0.04, 0.08]
    for frame in read:
        np.testing.assert_array_equal(frame.image, picture(frame.index))
    # one page is an image like any other
    pages[0].save(tmp_path / "one.tif")
    assert open_source(tmp_path / "one.tif").count == 1


def test_a_page_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    from PIL import Image

    pages = [Image.new("RGB", (8, 8)), Image.new("RGB", (80, 60))]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(image_io, "MAX_PIXELS", 100)
    with open_source(tmp_path / "x.tif") as reader, pytest.raises(VideoError, match="80 x 60"):
        list(reader)


def test_pictures_of_a_program():
    made = []

    def source():
        for i in itertools.count():  # without an end
            made.append(i)
            yield picture(i)[:, ::-1]  # not contiguous

    seen = list(frames(source(), start=2, end=4))
    assert [frame.index for frame in seen] == [2, 3, 4]
    assert made == [0, 1, 2, 3, 4]
    assert seen[0].image.flags.c_contiguous
    assert open_source([picture(0)] * 3).count == 3
    assert [frame.time for frame in frames(np.stack([picture(0)] * 3))] == [0, 0.04, 0.08]
    assert [frame.time for frame in frames([Frame(picture(0), 7, 1.5)])] == [1.5]
    assert list(frames([])) == []


@pytest.mark.parametrize("source", [None, 1.5, b"film.mp4", True, np.zeros((8, 8, 3), np.uint8)])
def test_sources_that_are_none(source):
    with pytest.raises(TypeError, match=r"^source: expected"):
        open_source(source)


def test_pictures_that_are_none():
    with pytest.raises(TypeError, match=r"^picture 1: expected dtype uint8"):
        list(frames([picture(0), picture(0).astype(float)]))
    for arguments in ((picture(0), -1, 0.0), (picture(0), 0, math.nan), (picture(0)[..., 0], 0, 0.0)):
        with pytest.raises(ValueError, match=r"^Frame\."):
            Frame(*arguments)


# Writing


@pytest.mark.parametrize("times", [None, VARYING])
def test_round_trip(tmp_path, times):
    source = make(tmp_path / "in.mp4", times=times, sound="aac")
    with (
        open_source(source) as reader,
        Writer(tmp_path / "new" / "out.mp4", fps=reader.fps, audio_from=source) as writer,
    ):
        before = [(frame.time, frame.image) for frame in reader if writer.write(frame.image, frame.time) is None]
    after = [(frame.time, frame.image) for frame in frames(tmp_path / "new/out.mp4")]
    assert writer.count == len(after) == len(before)
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in before], atol=1e-3)
    for (_, a), (_, b) in zip(before, after, strict=True):
        assert np.abs(a.astype(int) - b).mean() < 3
    assert packets(source) == packets(tmp_path / "new/out.mp4")  # to the last bit, at their times
    begin, samples = heard(tmp_path / "new/out.mp4")
    assert begin == pytest.approx(0, abs=1e-3)
    assert abs(len(samples) - heard(source)[1].size) <= 1024
    assert names(tmp_path / "new") == ["out.mp4"]


def test_the_file_is_what_players_want(tmp_path):
    path = tmp_path / "out.mp4"
    with Writer(path, fps=30000 / 1001) as writer:
        for i in range(30):
            writer.write(picture(i))
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(30000, 1001)
        assert float(stream.duration * stream.time_base) == pytest.approx(30 * 1001 / 30000, abs=1e-6)
    np.testing.assert_allclose([frame.time for frame in frames(path)], np.arange(30) * 1001 / 30000, atol=1e-6)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (40, 60, 220), (220, 120, 30)])
def test_colours_come_back(tmp_path, color):
    image = np.full((64, 96, 3), color, np.uint8)
    with Writer(tmp_path / "out.mp4", fps=25, crf=4) as writer:
        writer.write(image)
    [frame] = frames(tmp_path / "out.mp4")
    assert np.abs(frame.image.astype(int) - image).max() <= 5


@pytest.mark.parametrize(
    ("container", "sound", "copied"),
    [("mkv", "aac", True), ("ts", "aac", True), ("mov", "pcm_s16le", False), ("avi", "mp3", True)],
)
def test_sound_of_other_containers(tmp_path, container, sound, copied):
    source = make(tmp_path / f"in.{container}", sound=sound, codec="mpeg4" if container == "avi" else "libx264")
    with open_source(source) as reader, Writer(tmp_path / "out.mp4", fps=24, audio_from=str(source)) as writer:
        seen = [writer.write(frame.image, frame.time) for frame in reader]
    with av.open(str(tmp_path / "out.mp4")) as output:
        assert output.streams.audio[0].codec_context.codec.canonical_name == (sound if copied else "aac")
        assert output.streams.video[0].frames == len(seen) == 48
    begin, samples = heard(tmp_path / "out.mp4")
    assert begin == pytest.approx(0, abs=0.03)
    assert len(samples) / RATE == pytest.approx(2, abs=0.06)
    middle = samples[RATE // 2 : RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() == pytest.approx(440 * len(middle) / RATE, abs=1)
    if copied:
        kept = [data for _, data in packets(tmp_path / "out.mp4")]
        assert (
            len(set(kept) - {data for _, data in packets(source)}) == 0 or container == "ts"
        )  # ts has headers in them


@pytest.mark.parametrize(("sound", "container"), [("aac", "mp4"), ("pcm_s16le", "mov")])
def test_a_part_of_a_film_has_its_part_of_the_sound(tmp_path, sound, container):
    source = tmp_path / f"in.{container}"
    make(source, 96, sound=sound)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source, shortest=True) as writer:
        for frame in frames(source, start=24, end=59):
            writer.write(frame.image, frame.time)
    after = list(frames(tmp_path / "out.mp4"))
    np.testing.assert_allclose([frame.time for frame in after], np.arange(36) / 24, atol=1e-3)
    assert abs(place(after[0].image) - place(picture(24))) <= 1
    with av.open(str(tmp_path / "out.mp4")) as output:
        track = output.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(1.5, abs=0.05)
    # in phase with what was cut out
    begin, samples = heard(tmp_path / "out.mp4")
    at = np.arange(4096, 4096 + 8192)
    expected = 0.3 * np.sin(2 * np.pi * 440 * (1 + begin + at / RATE))
    assert np.corrcoef(samples[at], expected)[0, 1] > 0.98


def test_the_part_of_the_sound_can_be_said(film, tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=film, audio_start=0.5, audio_end=1.0) as writer:
        for frame in frames(film, start=12):
            writer.write(frame.image, frame.time)
    with av.open(str(tmp_path / "out.mp4")) as output:
        track = output.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(0.5, abs=0.05)
    assert next(frames(tmp_path / "out.mp4")).time == 0


def test_sound_that_is_longer_than_the_pictures_is_kept(tmp_path):
    source = make(tmp_path / "in.mp4", 24, sound="aac", seconds=2.5)
    for shortest, seconds in ((False, 2.5), (True, 1.0)):
        with Writer(tmp_path / "out.mp4", fps=24, audio_from=source, shortest=shortest) as writer:
            for frame in frames(source):
                writer.write(frame.image, frame.time)
        assert heard(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(seconds, abs=0.06)


def test_no_sound_where_there_is_none(film, tmp_path):
    silent = make(tmp_path / "silent.mp4", 5)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=silent) as writer:
        writer.write(picture(0))
    with open_source(tmp_path / "out.mp4") as reader:
        assert not reader.has_audio
    with pytest.raises(VideoError, match=r"nothing\.mp4: its sound cannot be read"):
        Writer(tmp_path / "x.mp4", fps=24, audio_from=tmp_path / "nothing.mp4")
    assert names(tmp_path) == ["out.mp4", "silent.mp4"]


def test_sound_is_encoded_anew_from_a_coarse_clock(tmp_path, monkeypatch, caplog):
    source = make(tmp_path / "in.avi", sound="mp3", codec="mpeg4")  # its tick is a packet
    monkeypatch.setattr(video.writing, "_COPIED_SOUND", ())
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for i in range(48):
            writer.write(picture(i))
    assert not caplog.records
    assert heard(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(2, abs=0.08)


def test_damaged_sound_does_not_harm_the_pictures(film, tmp_path, caplog):
    source = damaged(make(tmp_path / "in.mov", sound="pcm_s16le"), tmp_path / "bad.mov", 0.5, 0.9)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for i in range(48):
            writer.write(picture(i))
    assert len(list(frames(tmp_path / "out.mp4"))) == 48


def test_odd_sizes_grow_by_a_row_and_a_column(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(picture(0, 95, 63))
    [frame] = frames(tmp_path / "out.mp4")
    assert frame.image.shape == (64, 96, 3)
    assert np.abs(frame.image[:63, :95].astype(int) - picture(0, 95, 63)).mean() < 4


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (17, 3), (3, 200)])
def test_tiny_pictures(tmp_path, size):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(np.full((size[1], size[0], 3), 200, np.uint8))
    [frame] = frames(tmp_path / "out.mp4")
    assert frame.image.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert abs(frame.image.mean() - 200) < 4


def test_frames_of_another_size_are_letterboxed(tmp_path):
    red = np.full((60, 60, 3), (0, 0, 255), np.uint8)
    with Writer(tmp_path / "out.mp4", fps=24, size=(128, 64), crf=5) as writer:
        writer.write(red)
        writer.write(np.full((400, 100, 3), 255, np.uint8))
        writer.write(np.full((1, 1, 3), 255, np.uint8))
    seen = [frame.image.astype(int) for frame in frames(tmp_path / "out.mp4")]
    assert [image.shape for image in seen] == [(64, 128, 3)] * 3
    assert seen[0][:, 36:92, 2].min() > 200
    assert seen[0][:, :30].max() < 20 > seen[0][:, 98:].max()
    assert seen[1][:, 57:71].min() > 220
    assert seen[1][:, :54].max() < 30


def test_times_that_do_not_advance_are_moved(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        for time_ in (1.0, 1.0, 0.5, None, 1.5):
            writer.write(picture(0), time_)
    times = [frame.time for frame in frames(tmp_path / "out.mp4")]
    np.testing.assert_allclose(times, [0, 0, 0, 1 / 24, 0.5], atol=1e-3)


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), Stop()])
@pytest.mark.parametrize("count", [1, 20])
def test_what_was_written_before_an_interruption_is_kept(film, tmp_path, error, count):
    with pytest.raises(type(error)), Writer(tmp_path / "out.mp4", fps=24, audio_from=film) as writer:
        for frame in frames(film):
            if frame.index == count:
                raise error
            writer.write(frame.image, frame.time)
    seen = list(frames(tmp_path / "out.mp4"))
    assert [abs(place(frame.image) - place(picture(frame.index))) <= 1 for frame in seen] == [True] * count
    assert heard(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(count / 24, abs=0.06)
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("error", [None, RuntimeError("no")])
def test_nothing_is_left_where_no_frame_came(tmp_path, error):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    try:
        with Writer(path, fps=24):
            assert len(names(tmp_path)) == 2
            if error:
                raise error
    except RuntimeError:
        pass
    assert names(tmp_path) == ["out.mp4"]
    assert path.read_bytes() == b"the old one"


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    with Writer(path, fps=24) as writer:
        writer.write(picture(0))
        assert path.read_bytes() == b"the old one"
        writer.close()
        assert len(list(frames(path))) == 1
        with pytest.raises(ValueError, match="closed"):
            writer.write(picture(0))


def test_a_file_that_cannot_be_finished_is_not_left(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "out.mp4", fps=24)
    writer.write(picture(0))

    def full(packets):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_mux", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert names(tmp_path) == []


def test_the_caller_s_error_is_the_one_that_is_told(tmp_path, monkeypatch, caplog):
    with pytest.raises(RuntimeError, match="the first"), Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(picture(0))
        monkeypatch.setattr(writer, "_mux", lambda packets: (_ for _ in ()).throw(OSError(28, "No space left")))
        raise RuntimeError("the first")
    assert "could not be kept: No space left" in caplog.text
    assert names(tmp_path) == []


def test_a_picture_that_is_none_does_not_end_the_film(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        with pytest.raises(TypeError, match=r"^image: expected"):
            writer.write(None)
        writer.write(picture(0))
        with pytest.raises(ValueError, match=r"^image: expected shape"):
            writer.write(np.zeros((4, 4), np.uint8))
        with pytest.raises(ValueError, match=r"^time: expected"):
            writer.write(picture(0), math.nan)
        writer.write(picture(1)[::-1][::-1])
    assert len(list(frames(tmp_path / "out.mp4"))) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"fps": 0},
        {"fps": math.nan},
        {"fps": 1e6},
        {"fps": 24, "crf": 52},
        {"fps": 24, "size": (0, 4)},
        {"fps": 24, "audio_start": math.nan},
    ],
)
def test_arguments_that_are_none(tmp_path, arguments):
    with pytest.raises(ValueError, match=r": expected"):
        Writer(tmp_path / "out.mp4", **arguments)
    assert names(tmp_path) == []


def test_other_suffixes(tmp_path):
    with pytest.raises(ValueError, match=r"out\.avi: expected a name that ends in \.mp4"):
        Writer(tmp_path / "out.avi", fps=24)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Writer(tmp_path / "file" / "out.mp4", fps=24)


# Threads


def test_threaded_keeps_the_order():
    assert list(threaded(range(200), 3)) == list(range(200))
    assert list(threaded([])) == []
    assert list(threaded(threaded(threaded(iter(range(50)), 1), 2), 3)) == list(range(50))


def test_threaded_runs_elsewhere():
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
def test_threaded_carries_an_exception_over(error):
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


def test_threaded_stops_when_it_is_thrown_away():
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


def test_threaded_film(film, tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        for frame in threaded(threaded(frames(film))):
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
            yield Frame(picture(i), i, i * self.period)
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


def test_live_carries_an_exception_over():
    with live(Ticking(2, error=VideoError("ticking: gone"))) as newest:
        with pytest.raises(VideoError, match="gone"):
            list(newest)
        assert list(newest) == []


def test_a_film_is_played_at_its_own_pace(film):
    with open_source(film) as reader, live(reader) as newest:
        began = time.perf_counter()
        times = [next(newest).time for _ in range(8)]
        elapsed = time.perf_counter() - began
    assert elapsed == pytest.approx(times[-1], abs=0.1)
    assert newest.dropped <= 3


# Real films


@pytest.mark.evaluation
@pytest.mark.parametrize("name", ["carphone.mp4", "no_face.mp4"])
def test_real_films(evaluation, tmp_path, name, caplog):
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
