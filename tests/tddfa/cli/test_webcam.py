"""``tddfa webcam`` as a user runs it."""

import numpy as np
import pytest

from tddfa import video
from tddfa._shared import image_io
from tddfa.cli import main
from tddfa.cli import webcam as cli_webcam

FRAMES = 24


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setattr(cli_webcam, "has_display", lambda: False)


def read(path):
    return [frame.image for frame in video.frames(path)]


def run(*arguments):
    return main([*(str(a) for a in arguments), "--device", "cpu"])


class Window:
    """A stand-in for OpenCV's: gives prepared keys and keeps the images."""

    def __init__(self, keys=()):
        self.keys, self.shown = list(keys), []

    def imshow(self, _, image):
        self.shown.append(image.copy())

    def waitKey(self, _):
        return self.keys.pop(0) if self.keys else -1

    def namedWindow(self, *_):
        pass

    def getWindowProperty(self, *_):
        return 1.0


class TestWebcam:
    @pytest.fixture
    def window(self, monkeypatch):
        import cv2

        window = Window()
        monkeypatch.setattr(cli_webcam, "has_display", lambda: True)
        for name in ("imshow", "waitKey", "getWindowProperty", "namedWindow"):
            monkeypatch.setattr(cv2, name, getattr(window, name))
        return window

    def test_without_a_display_a_video_is_written(self, clip, tmp_path, capsys):
        assert run("webcam", "--source", clip, "--out", tmp_path) == 0
        printed = capsys.readouterr().out
        assert "no display" in printed
        assert 0 < len(read(tmp_path / "webcam_2d_sparse_1.mp4")) <= FRAMES

    def test_an_interruption_is_its_usual_end(self, clip, tmp_path, capsys, monkeypatch):
        seen = []

        def draw(image, *_):
            seen.append(image)
            if len(seen) == 2:
                raise KeyboardInterrupt
            return image

        monkeypatch.setattr("tddfa.cli.webcam.draw_frame", draw)
        assert run("webcam", "--source", clip, "--out", tmp_path) == 0
        assert "1 frame, " in capsys.readouterr().out
        assert len(read(tmp_path / "webcam_2d_sparse_1.mp4")) == 1

    def test_a_damaged_source_is_no_success(self, tmp_path, astronaut):
        image_io.write(tmp_path / "in" / "1.png", astronaut)
        (tmp_path / "in" / "2.png").write_bytes(b"no image")
        assert run("webcam", "--source", tmp_path / "in", "--out", tmp_path) == 1
        assert len(read(tmp_path / "webcam_2d_sparse_1.mp4")) == 1

    def test_no_camera_is_one_line(self, capsys):
        assert run("webcam", "--source", 97) == 1
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert "camera" in err

    def test_frames_are_shown_with_their_speed(self, clip, tmp_path, window, capsys):
        assert run("webcam", "--source", clip, "--out", tmp_path) == 0
        assert 0 < len(window.shown) <= FRAMES
        assert not list(tmp_path.iterdir()), "shown, not written"
        assert "dropped" in capsys.readouterr().out

    def test_keys(self, clip, tmp_path, window):
        window.keys = [ord("3"), ord("s"), ord(" "), -1, -1, ord(" "), ord("q")]
        assert run("webcam", "--source", clip, "--out", tmp_path) == 0
        (still,) = tmp_path.iterdir()
        assert still.name in ("webcam_3d_1.jpg", "webcam_2d_sparse_1.jpg")
        assert len(window.shown) <= 5, "q quits"

    def test_it_stops_after_the_given_number_of_frames(self, clip, tmp_path, window):
        assert run("webcam", "--source", clip, "--frames", 2, "--out", tmp_path) == 0
        assert len(window.shown) == 2

    def test_mirror_flips_frames_horizontally(self, clip, tmp_path, window, monkeypatch):
        monkeypatch.setattr("tddfa.cli.webcam.draw_frame", lambda image, *_: image)
        assert run("webcam", "--source", clip, "--mirror", "--frames", 1, "--out", tmp_path) == 0
        mirrored = window.shown[0][60:]
        frames = [image[60:, ::-1] for image in read(clip)]
        assert min(np.abs(mirrored.astype(int) - image).mean() for image in frames) < 2
