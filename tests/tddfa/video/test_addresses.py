import os

import pytest

from builders_video import make_video
from tddfa.video import VideoError, frames, open_source
from tddfa.video.addresses import SCHEMES, address_of
from tddfa.video.sound import Sound


@pytest.mark.parametrize("scheme", ["concat", "subfile", "data", "ftp", "gopher", "pipe", "tcp", "async", "FD"])
@pytest.mark.parametrize("open_it", [open_source, Sound.open])
def test_other_schemes_are_refused(scheme, open_it):
    with pytest.raises(VideoError, match=rf"expected a path, or a URL that .*, got {scheme.lower()}$"):
        open_it(f"{scheme}://x/y.mp4")


def test_names_of_files_are_no_protocols(short_video, tmp_path):
    assert address_of("concat:a|b").url == "file:concat:a|b"
    odd = tmp_path / "concat:a|b.mp4"
    odd.write_bytes(short_video.read_bytes())
    with open_source(odd) as reader:
        assert reader.size
    with pytest.raises(VideoError, match="no such file"):
        open_source(f"concat:{short_video}|{short_video}")


def test_a_file_url_is_the_path_that_it_names(short_video, tmp_path):
    path = tmp_path / "a b%.mp4"
    path.write_bytes(short_video.read_bytes())
    with open_source(path.as_uri()) as reader:
        assert (reader.name, reader.live) == (str(path), False)
    with pytest.raises(VideoError, match="no such file"):
        open_source("file:///no/such.mp4")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_url_may_lead_to_no_file(scheme):
    address = address_of(f"{scheme}://me:word@host/a")
    assert address.name == f"{scheme}://host/a"
    assert "file" not in address.options["protocol_whitelist"].split(",")


def test_a_playlist_keeps_to_its_own_protocol(tmp_path):
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "http://127.0.0.1:9/a.ts", "#EXT-X-ENDLIST", ""]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    with pytest.raises(VideoError, match=r"list\.m3u8"):
        open_source(tmp_path / "list.m3u8")
    assert address_of(str(tmp_path / "list.m3u8")).options == {"protocol_whitelist": "file,crypto"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_is_refused_at_once(tmp_path):
    for name in ("a.mp4", "a.webp", "a.jpg"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(VideoError, match="got a pipe or a device"):
            open_source(tmp_path / name)
    with pytest.raises(VideoError, match="expected a file, got a pipe"):
        Sound.open(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="got a pipe or a device"):
        open_source("/dev/zero")


def test_a_playlist_without_an_end_is_not_waited_for(tmp_path, monkeypatch):
    """FFmpeg takes it for a stream that goes on, and reads it again and again."""
    monkeypatch.setattr("tddfa.video.file.FILE_SECONDS", 2.0)
    make_video(tmp_path / "clip.ts", 4, codec="mpeg4", container="mpegts")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.ts\n")
    assert len(list(frames(playlist))) == 4
