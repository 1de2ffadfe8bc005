"""Videos and animations that are damaged: from the bytes of a file to frames."""

from __future__ import annotations

import io
import itertools

import numpy as np
import PIL.Image
import pytest

from builders_fuzz import is_taken, mutated, written
from builders_video import make_video, moving_square
from tddfa.video import VideoError, open_source

pytestmark = pytest.mark.fuzz

MOST_FRAMES = 12
CODECS = {".mp4": "libx264", ".avi": "mpeg4", ".mkv": "libx264"}
WORDS = (b"moov", b"mdat", b"stsz", b"stts", b"ftyp", b"RIFF", b"LIST", b"\x1a\x45\xdf\xa3", b"\0\0\0\1\x65", b"\0\0\1")
ANIMATED = (b"GIF89a", b"NETSCAPE2.0", b"ANMF", b"ANIM", b"VP8X", b"VP8 ", b"\x21\xf9", b"\x2c", b"II*\0", b"\x00\x01")


@pytest.fixture(scope="module")
def animations():
    images = [PIL.Image.fromarray(moving_square(k, 40, 32)[..., ::-1]) for k in range(4)]
    seeds = {}
    for suffix, format in ((".gif", "GIF"), (".webp", "WEBP"), (".tif", "TIFF")):
        buffer = io.BytesIO()
        images[0].save(buffer, format, save_all=True, append_images=images[1:], duration=40)
        seeds[suffix] = [buffer.getvalue()]
    return seeds


def read(path):
    with open_source(path) as reader:
        for frame in itertools.islice(reader.frames(0, None), MOST_FRAMES):
            assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
            assert np.isfinite(frame.time)


@pytest.mark.parametrize("suffix", CODECS)
def test_videos(tmp_path, explored, suffix):
    seed = make_video(tmp_path / f"seed{suffix}", 6, codec=CODECS[suffix], size=(48, 32), gop=3).read_bytes()

    def check(data):
        path = written(tmp_path / f"v{suffix}", data)
        return is_taken(lambda: read(path), VideoError, path.name)

    assert check(seed)
    explored(mutated([seed], WORDS), check)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif"])
def test_animations(tmp_path, explored, animations, suffix):
    def check(data):
        path = written(tmp_path / f"a{suffix}", data)
        return is_taken(lambda: read(path), (VideoError, ValueError), path.name)

    assert check(animations[suffix][0])
    explored(mutated(animations[suffix], ANIMATED), check)


def test_playlists(tmp_path, explored, monkeypatch):
    monkeypatch.setattr("tddfa.video.file.FILE_SECONDS", 0.1)  # for those without an end
    clip = make_video(tmp_path / "clip.ts", 4, codec="mpeg4", size=(48, 32), container="mpegts")
    seed = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip.name}\n#EXT-X-ENDLIST\n"

    def check(data):
        path = written(tmp_path / "l.m3u8", data)
        return is_taken(lambda: read(path), VideoError, path.name)

    words = (b"file:///etc/passwd", b"concat:clip.ts|clip.ts", b"data:,x", b'#EXT-X-KEY:METHOD=AES-128,URI="clip.ts"')
    words += (b"subfile,,start,0,end,9,,:clip.ts", b'#EXT-X-MAP:URI="clip.ts"', b"../clip.ts", b"crypto:clip.ts")
    explored(mutated([seed.encode()], words), check)
