"""Written videos: frames, times, sound, and what an interruption leaves."""

import math
import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from builders_files import size_limit
from builders_video import (
    RATE,
    VARYING,
    Stop,
    damaged,
    decoded_sound,
    make_video,
    moving_square,
    names,
    packets,
    square_left,
)
from tddfa import video
from tddfa.video import VideoError, Writer, frames, open_source

ENCODE = """
import sys
from tddfa.video import Writer, open_source
with open_source(sys.argv[1]) as reader, Writer(sys.argv[2], fps=25) as writer:
    for frame in reader.frames(60, 64):
        writer.write(frame.image)
"""


def test_equal_frames_give_equal_files(tmp_path, root):
    """Whatever the memory held before: an assembler routine of x264's rate control reads past the end of its rows."""
    source = root / "examples/inputs/videos/crossing.mp4"
    files = []
    for fill in ("1", "127"):  # the GNU C library fills memory that is requested with it; others ignore it
        target = tmp_path / f"{fill}.mp4"
        command = [sys.executable, "-c", ENCODE, str(source), str(target)]
        subprocess.run(command, env={**os.environ, "MALLOC_PERTURB_": fill}, check=True, cwd=root)
        files.append(target.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("times", [None, VARYING])
def test_round_trip(tmp_path, times):
    source = make_video(tmp_path / "in.mp4", times=times, sound="aac")
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
    begin, samples = decoded_sound(tmp_path / "new/out.mp4")
    assert begin == pytest.approx(0, abs=1e-3)
    assert abs(len(samples) - decoded_sound(source)[1].size) <= 1024
    assert names(tmp_path / "new") == ["out.mp4"]


def test_the_file_plays_everywhere(tmp_path):
    path = tmp_path / "out.mp4"
    with Writer(path, fps=30000 / 1001) as writer:
        for i in range(30):
            writer.write(moving_square(i))
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(30000, 1001)
        assert float(stream.duration * stream.time_base) == pytest.approx(30 * 1001 / 30000, abs=1e-6)
    np.testing.assert_allclose([frame.time for frame in frames(path)], np.arange(30) * 1001 / 30000, atol=1e-6)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (40, 60, 220), (220, 120, 30)])
def test_colours_survive_a_round_trip(tmp_path, color):
    image = np.full((64, 96, 3), color, np.uint8)
    with Writer(tmp_path / "out.mp4", fps=25, crf=4) as writer:
        writer.write(image)
    [frame] = frames(tmp_path / "out.mp4")
    assert np.abs(frame.image.astype(int) - image).max() <= 5


@pytest.mark.parametrize("size", [(96, 64), (1280, 720)])
def test_greys_stay_grey(tmp_path, size):
    ramp = np.repeat(np.arange(16, 240, 224 / size[0])[None, :, None], size[1], 0).repeat(3, 2).astype(np.uint8)
    with Writer(tmp_path / "out.mp4", fps=25, crf=0) as writer:
        writer.write(ramp)
    with av.open(str(tmp_path / "out.mp4")) as written:
        planes = next(written.decode(video=0)).to_ndarray()
    luma, chroma = planes[: size[1]], planes[size[1] :]
    off = luma - (16 + ramp[..., 0] * (219 / 255))
    assert abs(off).max() <= 1
    assert abs(off.mean()) < 0.2
    np.testing.assert_array_equal(chroma, 128)


@pytest.mark.parametrize(
    ("container", "sound", "copied"),
    [("mkv", "aac", True), ("ts", "aac", True), ("mov", "pcm_s16le", False), ("avi", "mp3", True)],
)
def test_sound_of_other_containers(tmp_path, container, sound, copied):
    source = make_video(tmp_path / f"in.{container}", sound=sound, codec="mpeg4" if container == "avi" else "libx264")
    with open_source(source) as reader, Writer(tmp_path / "out.mp4", fps=24, audio_from=str(source)) as writer:
        seen = [writer.write(frame.image, frame.time) for frame in reader]
    with av.open(str(tmp_path / "out.mp4")) as output:
        assert output.streams.audio[0].codec_context.codec.canonical_name == (sound if copied else "aac")
        assert output.streams.video[0].frames == len(seen) == 48
    begin, samples = decoded_sound(tmp_path / "out.mp4")
    assert begin == pytest.approx(0, abs=0.03)
    assert len(samples) / RATE == pytest.approx(2, abs=0.06)
    middle = samples[RATE // 2 : RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() == pytest.approx(440 * len(middle) / RATE, abs=1)
    if copied:
        kept = [data for _, data in packets(tmp_path / "out.mp4")]
        assert (
            len(set(kept) - {data for _, data in packets(source)}) == 0 or container == "ts"
        )  # ts has headers in them


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "flac"), (".mov", "aac")])
def test_sound_that_mov_does_not_hold(tmp_path, suffix, codec):
    source = make_video(tmp_path / "in.mkv", sound="flac")
    with Writer(tmp_path / f"out{suffix}", fps=24, audio_from=source) as writer:
        for frame in frames(source):
            writer.write(frame.image, frame.time)
    with av.open(str(tmp_path / f"out{suffix}")) as output:
        assert output.streams.audio[0].codec_context.codec.canonical_name == codec
        assert output.streams.video[0].frames == 48


@pytest.mark.parametrize(("sound", "container"), [("aac", "mp4"), ("pcm_s16le", "mov")])
def test_a_part_of_a_video_has_its_part_of_the_sound(tmp_path, sound, container):
    source = tmp_path / f"in.{container}"
    make_video(source, 96, sound=sound)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source, shortest=True) as writer:
        for frame in frames(source, start=24, end=59):
            writer.write(frame.image, frame.time)
    after = list(frames(tmp_path / "out.mp4"))
    np.testing.assert_allclose([frame.time for frame in after], np.arange(36) / 24, atol=1e-3)
    assert abs(square_left(after[0].image) - square_left(moving_square(24))) <= 1
    with av.open(str(tmp_path / "out.mp4")) as output:
        track = output.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(1.5, abs=0.05)
    # in phase with what was cut out
    begin, samples = decoded_sound(tmp_path / "out.mp4")
    at = np.arange(4096, 4096 + 8192)
    expected = 0.3 * np.sin(2 * np.pi * 440 * (1 + begin + at / RATE))
    assert np.corrcoef(samples[at], expected)[0, 1] > 0.98


LATE = [1.5 + i / 24 for i in range(24)]


@pytest.mark.parametrize(("container", "sound"), [("mp4", "aac"), ("mkv", "aac"), ("mov", "pcm_s16le")])
def test_sound_that_begins_before_the_frames_is_kept(tmp_path, container, sound):
    source = make_video(tmp_path / f"in.{container}", times=LATE, sound=sound)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for frame in frames(source):
            writer.write(frame.image, frame.time)
    times = [frame.time for frame in frames(tmp_path / "out.mp4")]
    np.testing.assert_allclose(times, LATE, atol=0.03)  # some containers begin with the delay of the sound's codec
    np.testing.assert_allclose(times, [frame.time for frame in frames(source)], atol=1e-3)
    begin, samples = decoded_sound(tmp_path / "out.mp4")
    assert begin == pytest.approx(0, abs=0.03)
    assert len(samples) / RATE == pytest.approx(2.54, abs=0.06)
    if sound == "aac":
        assert [data for _, data in packets(source)] == [data for _, data in packets(tmp_path / "out.mp4")]


def test_a_part_that_begins_later_has_no_sound_before_its_frames(tmp_path):
    source = make_video(tmp_path / "in.mp4", times=LATE, sound="aac")
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for frame in frames(source, start=12):
            writer.write(frame.image, frame.time)
    assert next(frames(tmp_path / "out.mp4")).time == pytest.approx(0, abs=1e-3)
    assert decoded_sound(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(0.5, abs=0.06)


def test_the_part_of_the_sound_can_be_chosen(short_video, tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=short_video, audio_start=0.5, audio_end=1.0) as writer:
        for frame in frames(short_video, start=12):
            writer.write(frame.image, frame.time)
    with av.open(str(tmp_path / "out.mp4")) as output:
        track = output.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(0.5, abs=0.05)
    assert next(frames(tmp_path / "out.mp4")).time == 0


def test_sound_longer_than_the_video_is_kept(tmp_path):
    source = make_video(tmp_path / "in.mp4", 24, sound="aac", seconds=2.5)
    for shortest, seconds in ((False, 2.5), (True, 1.0)):
        with Writer(tmp_path / "out.mp4", fps=24, audio_from=source, shortest=shortest) as writer:
            for frame in frames(source):
                writer.write(frame.image, frame.time)
        assert decoded_sound(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(seconds, abs=0.06)


def test_no_sound_without_a_source_of_sound(short_video, tmp_path):
    silent = make_video(tmp_path / "silent.mp4", 5)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=silent) as writer:
        writer.write(moving_square(0))
    with open_source(tmp_path / "out.mp4") as reader:
        assert not reader.has_audio
    with pytest.raises(VideoError, match=r"nothing\.mp4: its sound cannot be read"):
        Writer(tmp_path / "x.mp4", fps=24, audio_from=tmp_path / "nothing.mp4")
    assert names(tmp_path) == ["out.mp4", "silent.mp4"]


def test_sound_is_re_encoded_from_a_coarse_time_base(tmp_path, monkeypatch, caplog):
    source = make_video(tmp_path / "in.avi", sound="mp3", codec="mpeg4")  # its tick is a packet
    monkeypatch.setattr(video.sound, "_COPIED_CODECS", {"mp4": ()})
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for i in range(48):
            writer.write(moving_square(i))
    assert not caplog.records
    assert decoded_sound(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(2, abs=0.08)


def test_damaged_sound_does_not_harm_the_frames(short_video, tmp_path, caplog):
    source = damaged(make_video(tmp_path / "in.mov", sound="pcm_s16le"), tmp_path / "bad.mov", 0.5, 0.9)
    with Writer(tmp_path / "out.mp4", fps=24, audio_from=source) as writer:
        for i in range(48):
            writer.write(moving_square(i))
    assert len(list(frames(tmp_path / "out.mp4"))) == 48


def test_odd_sizes_grow_by_a_row_and_a_column(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(moving_square(0, 95, 63))
    [frame] = frames(tmp_path / "out.mp4")
    assert frame.image.shape == (64, 96, 3)
    assert np.abs(frame.image[:63, :95].astype(int) - moving_square(0, 95, 63)).mean() < 4


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (17, 3), (3, 200)])
def test_tiny_frames(tmp_path, size):
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
            writer.write(moving_square(0), time_)
    times = [frame.time for frame in frames(tmp_path / "out.mp4")]
    np.testing.assert_allclose(times, [0, 0, 0, 1 / 24, 0.5], atol=1e-3)


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), Stop()])
@pytest.mark.parametrize("count", [1, 20])
def test_frames_before_an_interruption_are_kept(short_video, tmp_path, error, count):
    with pytest.raises(type(error)), Writer(tmp_path / "out.mp4", fps=24, audio_from=short_video) as writer:
        for frame in frames(short_video):
            if frame.index == count:
                raise error
            writer.write(frame.image, frame.time)
    seen = list(frames(tmp_path / "out.mp4"))
    assert [abs(square_left(frame.image) - square_left(moving_square(frame.index))) <= 1 for frame in seen] == [
        True
    ] * count
    assert decoded_sound(tmp_path / "out.mp4")[1].size / RATE == pytest.approx(count / 24, abs=0.06)
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("error", [None, RuntimeError("no")])
def test_no_file_is_left_without_a_frame(tmp_path, error):
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


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    with Writer(path, fps=24) as writer:
        writer.write(moving_square(0))
        assert path.read_bytes() == b"the old one"
        writer.close()
        assert len(list(frames(path))) == 1
        with pytest.raises(ValueError, match="closed"):
            writer.write(moving_square(0))


def test_a_file_that_cannot_be_finished_is_not_left(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "out.mp4", fps=24)
    writer.write(moving_square(0))

    def full(packets):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_mux", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("limit", [0, 100, 60_000])
def test_a_full_disk_leaves_the_old_file(tmp_path, rng, limit, caplog):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    noise = rng.integers(0, 256, (12, 96, 128, 3), dtype=np.uint8)
    writer = Writer(path, fps=24)
    with pytest.raises(OSError, match=rf"File too large: '{path}'$"), writer, size_limit(limit):
        for image in np.concatenate([noise] * 6):
            writer.write(image)
        writer.close()
    writer.close()
    assert path.read_bytes() == b"the old one"
    assert names(tmp_path) == ["out.mp4"]
    assert caplog.text == ""


def test_a_write_that_failed_and_was_caught_gives_no_file(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "out.mp4", fps=24)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_mux", lambda packets: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space"):
            writer.write(moving_square(0))
    with pytest.raises(OSError, match=r"out\.mp4: not written, because an earlier write failed$"):
        writer.close()
    assert names(tmp_path) == []


def test_the_first_error_is_raised(tmp_path, monkeypatch, caplog):
    with pytest.raises(RuntimeError, match="the first"), Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(moving_square(0))
        monkeypatch.setattr(writer, "_mux", lambda packets: (_ for _ in ()).throw(OSError(28, "No space left")))
        raise RuntimeError("the first")
    assert "could not be saved: No space left" in caplog.text
    assert names(tmp_path) == []


def test_a_gap_that_the_file_cannot_hold(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        writer.write(moving_square(0), 5.0)
        for time in (5.0 + 8901, 1e15):
            with pytest.raises(ValueError, match="time: expected at most 8900 s after 5 s, got"):
                writer.write(moving_square(1), time)
        writer.write(moving_square(1), 5.0 + 8899)
    with av.open(str(tmp_path / "out.mp4")) as written:
        np.testing.assert_allclose([frame.time for frame in written.decode(video=0)], [0, 8899], atol=1e-3)


def test_an_invalid_image_does_not_end_the_video(tmp_path):
    with Writer(tmp_path / "out.mp4", fps=24) as writer:
        with pytest.raises(TypeError, match=r"^image: expected"):
            writer.write(None)
        writer.write(moving_square(0))
        with pytest.raises(ValueError, match=r"^image: expected shape"):
            writer.write(np.zeros((4, 4), np.uint8))
        with pytest.raises(ValueError, match=r"^time: expected"):
            writer.write(moving_square(0), math.nan)
        writer.write(moving_square(1)[::-1][::-1])
    assert len(list(frames(tmp_path / "out.mp4"))) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"fps": 0},
        {"fps": math.nan},
        {"fps": 1e6},
        {"fps": 24, "crf": 52},
        {"fps": 24, "size": (0, 4)},
        {"fps": 24, "size": (1.5, 2.5)},
        {"fps": 24, "size": (20000, 4)},
        {"fps": 24, "audio_start": math.nan},
        {"fps": 24, "audio_start": math.inf},
        {"fps": 24, "audio_end": math.nan},
        {"fps": 24, "preset": "quick"},
    ],
)
def test_invalid_arguments(tmp_path, arguments):
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
