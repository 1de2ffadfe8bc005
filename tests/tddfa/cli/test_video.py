"""``tddfa video`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from builders import without_volumes
from builders_video import RATE, decoded_sound
from tddfa import video
from tddfa.cli import main
from tddfa.cli._frames import draw_frame
from tddfa.outputs import Options, image_kinds

FRAMES = 24


def read(path):
    return [frame.image for frame in video.frames(path)]


def run(*arguments):
    return main([*(str(a) for a in arguments), "--device", "cpu"])


class TestVideo:
    def test_every_frame_is_written_with_the_face_drawn(self, clip, tmp_path, capsys):
        assert run("video", "-f", clip, "-o", "3d", "--out", tmp_path) == 0
        printed = capsys.readouterr().out
        assert f"{FRAMES} frames, {FRAMES - 3} with faces, 1 track" in printed
        assert "jitter" in printed
        before, after = read(clip), read(tmp_path / "slide_3d_smooth.mp4")
        assert len(after) == FRAMES
        assert np.abs(after[1].astype(int) - before[1]).mean() < 3, "no face, nothing drawn"
        change = np.abs(after[12].astype(int) - before[12]).mean(axis=-1)
        assert change[60:160, 130:240].mean() > 15, "the face is covered"
        assert change[250:, :60].mean() < 6, "the rest is not"

    def test_several_kinds_are_those_of_runs_of_their_own(self, clip, tmp_path, capsys):
        arguments = ("video", clip, "-e", 12, "--smooth", "none", "--out")
        assert run(*arguments, tmp_path / "both", "-o", "pose", "depth") == 0
        printed = capsys.readouterr().out
        for kind in ("pose", "depth"):
            assert run(*arguments, tmp_path / kind, "-o", kind) == 0
            (alone,), both = (tmp_path / kind).iterdir(), tmp_path / f"both/slide_{kind}.mp4"
            assert f"{kind:10} {both}" in printed
            np.testing.assert_array_equal(read(both), read(alone))

    def test_a_range_of_frames(self, clip, tmp_path):
        assert run("video", "-f", clip, "-s", 5, "-e", 10, "--out", tmp_path, "--save", tmp_path / "f.jsonl") == 0
        assert len(read(tmp_path / "slide_2d_sparse_smooth.mp4")) == 6
        lines = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
        assert [line["frame"] for line in lines] == list(range(5, 11))
        assert all(len(line["faces"]) == 1 for line in lines)

    @pytest.mark.parametrize("smooth", ["none", "lookahead", "one_euro"])
    def test_records_without_a_video(self, clip, tmp_path, smooth):
        out = tmp_path / "faces.npz"
        assert run("video", "-f", clip, "--no_video", "--save", out, "--smooth", smooth, "--out", tmp_path) == 0
        assert not list(tmp_path.glob("*.mp4"))
        with np.load(out, allow_pickle=False) as data:
            assert data["landmarks"].shape == (FRAMES - 3, 68, 3)
            assert set(data["track_id"]) == {0}
            x = data["landmarks"][:, :, 0].mean(axis=1)
        np.testing.assert_allclose(np.diff(x)[2:-2].mean(), 2, atol=0.3)

    def test_faces_are_saved_to_each_file(self, clip, tmp_path, capsys):
        files = [tmp_path / name for name in ("a.jsonl", "b.npz", "c.glb")]
        saves = [word for file in files for word in ("--save", file)]
        assert run("video", clip, "-s", 5, "-e", 9, "-o", "none", *saves, "--out", tmp_path) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.npz", "c.glb"]
        lines = [json.loads(line) for line in files[0].read_text().splitlines()]
        with np.load(files[1], allow_pickle=False) as data:
            np.testing.assert_allclose(data["landmarks"], [line["faces"][0]["landmarks"] for line in lines], atol=0.01)
        assert files[2].read_bytes()[:4] == b"glTF"
        printed = capsys.readouterr().out
        assert all(f"  faces      {file}" in printed for file in files)

    def test_records_have_the_clock_of_the_video(self, cases, tmp_path):
        """Sound begins 1.5 s before the first frame, and is kept."""
        source, out = cases / "sound_begins_before_picture.mp4", tmp_path / "f.jsonl"
        assert run("video", "-f", source, "-e", 5, "--refine", 0, "--out", tmp_path, "--save", out) == 0
        (target,) = tmp_path.glob("*.mp4")
        records = [json.loads(line)["time"] for line in out.read_text().splitlines()]
        np.testing.assert_allclose(records, 1.5 + np.arange(6) / 25, atol=1e-6)
        np.testing.assert_allclose([frame.time for frame in video.frames(target)], records, atol=1e-4)
        before, after = decoded_sound(source), decoded_sound(target)
        assert after[0] == pytest.approx(before[0], abs=1e-3)
        np.testing.assert_array_equal(after[1][:RATE], before[1][:RATE])

    def test_compare_puts_the_source_beside_the_result(self, clip, tmp_path):
        assert run("video", "-f", clip, "--compare", "-o", "depth", "--out", tmp_path) == 0
        (before,), after = {f.shape for f in read(clip)}, read(tmp_path / "slide_depth_smooth.mp4")
        assert after[0].shape == (before[0], 2 * before[1], 3)

    def test_demos_accept_the_options_of_3ddfa_v2(self, clip, tmp_path, root):
        for script, name in (
            ("demo_video.py", "slide_2d_dense.mp4"),
            ("demo_video_smooth.py", "slide_2d_dense_smooth.mp4"),
        ):
            options = ["-f", str(clip), "-m", "cpu", "-o", "2d_dense", "--onnx", "--out", str(tmp_path)]
            if "smooth" in script:
                options += ["-n_pre", "2", "-n_next", "1", "-s", "-1", "-e", "-1"]
            done = subprocess.run([sys.executable, str(root / script), *options], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert done.stderr == "", "quiet in a pipe"
            assert len(read(tmp_path / name)) == FRAMES

    def test_a_video_without_faces(self, tmp_path, capsys):
        with video.Writer(tmp_path / "empty.mp4", fps=25) as writer:
            for _ in range(5):
                writer.write(np.full((64, 96, 3), 90, np.uint8))
        assert run("video", "-f", tmp_path / "empty.mp4", "--out", tmp_path / "out") == 0
        assert "5 frames, 0 with faces, 0 tracks" in capsys.readouterr().out
        assert len(read(tmp_path / "out/empty_2d_sparse_smooth.mp4")) == 5

    @pytest.mark.parametrize("content", [None, b"", b"this is no video\n" * 50])
    def test_bad_files_are_one_line(self, tmp_path, capsys, content):
        path = tmp_path / "bad.mp4"
        if content is not None:
            path.write_bytes(content)
        assert run("video", "-f", path, "--out", tmp_path / "out") == 1
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert str(path) in err
        assert not (tmp_path / "out").exists()

    def test_bad_options(self, clip, tmp_path, capsys):
        assert run("video", "-f", clip, "-s", 9, "-e", 3, "--out", tmp_path) == 2
        assert "--end" in capsys.readouterr().err
        assert run("video", "-f", clip, "-s", 900, "--out", tmp_path) == 1
        assert "expected frame 900 or a later one, got none" in capsys.readouterr().err
        old = tmp_path / "old.jsonl"
        old.write_text("of an earlier run")
        assert run("video", "-f", clip, "-s", 900, "--save", old, "--out", tmp_path) == 1
        assert old.read_text() == "of an earlier run"
        capsys.readouterr()
        assert run("video", "-f", clip, "--no_video", "--out", tmp_path) == 2
        assert "--no-video" in capsys.readouterr().err
        for wrong in (
            ["-o", "ply"],
            ["-n_pre", "-1"],
            ["-s", "-5"],
            ["-e", "-2"],
            ["--smooth", "kalman"],
            ["--max-faces", "0"],
            ["--save", "f.csv"],
        ):
            with pytest.raises(SystemExit) as caught:
                run("video", "-f", clip, *wrong)
            assert caught.value.code == 2
            assert wrong[0].replace("-n_pre", "--n-pre") in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "status", "message"),
        [
            (["--save", "a.mp4/x.jsonl"], 1, "--save: "),
            (["--save", "folder.npz"], 1, "--save: folder.npz is a folder"),
            (["--save", "x.npz", "--save", "x.npz"], 2, "--save: expected each file once, got x.npz twice"),
            (["-o", "none"], 2, "-o none: expected --save FILE or --osc HOST:PORT with it"),
            (["--save", "given.npz", "--intrinsics", "given.npz"], 2, "--save: expected another file than given.npz"),
            (["--save", "x.glb", "--neutral", "none.jpg"], 2, "--neutral: "),
            (["--save", "x.glb", "-c", "jvcr_s"], 2, "--save x.glb: expected a model with a mesh"),
            (["--osc", "127.0.0.1:9", "-c", "jvcr_s"], 2, "--osc: expected a model with a mesh"),
        ],
    )
    def test_what_cannot_be_saved_leaves_the_video_of_an_earlier_run(
        self, clip, tmp_path, capsys, monkeypatch, options, status, message
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.npz").mkdir()
        for path in (tmp_path / "a.mp4", tmp_path / "given.npz", tmp_path / "results/slide_2d_sparse_smooth.mp4"):
            path.parent.mkdir(exist_ok=True)
            path.write_text("of an earlier run")
        assert run("video", clip, "-e", 12, *options) == status
        assert message in capsys.readouterr().err
        assert (tmp_path / "results/slide_2d_sparse_smooth.mp4").read_text() == "of an earlier run"

    def test_a_first_frame_that_cannot_be_written_leaves_the_files_of_an_earlier_run(
        self, clip, tmp_path, capsys, monkeypatch
    ):
        def fail(*_, **__):
            raise video.VideoError("no such size")

        monkeypatch.setattr(video.Writer, "__init__", fail)
        old = [tmp_path / f"old{suffix}" for suffix in (".jsonl", ".npz", ".glb")]
        for path in old:
            path.write_text("of an earlier run")
            assert run("video", clip, "-e", 3, "--out", tmp_path, "--save", path) == 1
            assert "no such size" in capsys.readouterr().err
            assert path.read_text() == "of an earlier run"
        assert sorted(tmp_path.iterdir()) == sorted(old), "nothing half written"

    def test_a_target_that_is_a_folder(self, clip, tmp_path, capsys):
        (tmp_path / "slide_pose_smooth.mp4").mkdir()
        assert run("video", clip, "-o", "3d", "pose", "--out", tmp_path) == 1
        assert f"--out: {tmp_path / 'slide_pose_smooth.mp4'} is a folder" in capsys.readouterr().err
        assert not (tmp_path / "slide_3d_smooth.mp4").exists()

    def test_images_that_cannot_be_read_make_the_status_1(self, tmp_path, astronaut):
        folder = tmp_path / "frames"
        folder.mkdir()
        for number in range(3):
            cv2.imwrite(str(folder / f"{number}.png"), astronaut[:300, 60:380])
        assert run("video", folder, "--out", tmp_path) == 0
        (folder / "1.png").write_text("no image")
        assert run("video", folder, "--out", tmp_path) == 1
        assert len(read(tmp_path / "frames_2d_sparse_smooth.mp4")) == 2

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    @pytest.mark.parametrize("until_the_end", [False, True])
    def test_ctrl_c_leaves_complete_files(self, tmp_path, astronaut, until_the_end):
        image = np.ascontiguousarray(astronaut[:300, 60:380])
        with video.Writer(tmp_path / "long.mp4", fps=25, preset="ultrafast") as writer:
            for _ in range(3000):
                writer.write(image)
        out = tmp_path / "out"
        command = [
            "video",
            "-f",
            tmp_path / "long.mp4",
            "--out",
            out,
            "--save",
            tmp_path / "f.jsonl",
            "--device",
            "cpu",
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "tddfa", *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        records, growing = tmp_path / "f.jsonl", tmp_path / "f.jsonl.part"
        deadline = time.monotonic() + 60
        while not (growing.exists() and growing.stat().st_size > 20000) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        while until_the_end and process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGINT)
            time.sleep(0.003)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err
        lines = records.read_text().splitlines()
        assert 0 < len(lines) < 3000
        assert json.loads(lines[-1])["frame"] == len(lines) - 1
        assert abs(len(read(out / "long_2d_sparse_smooth.mp4")) - len(lines)) <= 1
        assert not list(out.glob(".*")), "nothing half written"


@pytest.mark.parametrize("kind", without_volumes(image_kinds()))
def test_every_kind_keeps_the_frames_size(aligner, astronaut, kind):
    faces = aligner(astronaut)
    for shown in (faces, []):
        drawn = draw_frame(astronaut, shown, aligner, kind, Options())
        assert drawn.shape == astronaut.shape
        assert drawn.dtype == np.uint8
        if kind == "uv_tex":
            assert bool(drawn.any()) == bool(shown)
        else:
            assert bool((drawn != astronaut).any()) == bool(shown)


def test_opencv_is_loaded_before_pyav():
    """Each brings its own libxcb; the other way round OpenCV's windows hang."""
    code = (
        "import sys\nfrom tddfa import video\nnames = list(sys.modules)\nprint(names.index('cv2') < names.index('av'))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
