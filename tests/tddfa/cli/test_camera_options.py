"""The options of the camera, as given to ``tddfa image``, ``video`` and ``webcam``."""

import json
import re
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from tddfa import video
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.cli import webcam as cli_webcam
from tddfa.draw.six_dof import format_distance
from tddfa.outputs import KINDS

MATRIX = [[900.0, 0.0, 250.0], [0.0, 900.0, 260.0], [0.0, 0.0, 1.0]]


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for module in (cli_image, cli_webcam):
        monkeypatch.setattr(module, "has_display", lambda: False)


@pytest.fixture
def photo(tmp_path, astronaut):
    """The astronaut, with EXIF data of a focal length of 50 mm on film of 36 x 24 mm."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut[..., ::-1].copy()).save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"camera_matrix": MATRIX, "dist_coeffs": [-0.1, 0.02, 0, 0]}))
    return path


@pytest.fixture
def run(tmp_path, capsys):
    def call(command, *arguments):
        status = main([command, *map(str, arguments), "--out", str(tmp_path / "out"), "--device", "cpu"])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def intrinsics(folder, name="photo.json"):
    return json.loads((folder / "out" / name).read_text())["faces"][0]["six_dof"]["intrinsics"]


class TestImage:
    @pytest.mark.parametrize(
        ("options", "focal"),
        [
            ([], 1024),
            (["--intrinsics", "assumed"], 1024),
            (["--intrinsics", "exif"], 50 / np.hypot(36, 24) * np.hypot(512, 512)),
            (["--fov", "90"], 256),
            (["--focal", "700.5"], 700.5),
        ],
    )
    def test_focal_lengths(self, run, photo, tmp_path, options, focal):
        status, _, _ = run("image", "-f", photo, "--json", *options)
        assert status == 0
        used = intrinsics(tmp_path)
        assert used["matrix"][0][0] == used["matrix"][1][1] == pytest.approx(focal, abs=1e-3)
        assert used["assumed"] == (focal == 1024)

    def test_a_calibration(self, run, photo, tmp_path, calibration):
        status, out, _ = run("image", "-f", photo, "--json", "-o", "6dof", "--intrinsics", calibration)
        assert status == 0
        used = intrinsics(tmp_path)
        assert used == {"matrix": MATRIX, "distortion": [-0.1, 0.02, 0, 0], "assumed": False}
        distance, *angles = re.search(r" {13}(.+), yaw (\S+), pitch (\S+), roll (\S+)", out).groups()
        yaw, pitch, roll = map(float, angles)
        pose = json.loads((tmp_path / "out/photo.json").read_text())["faces"][0]["six_dof"]
        assert distance == format_distance(pose["distance"], "cm")
        assert (yaw, pitch, roll) == pytest.approx([pose["euler"][name] for name in ("yaw", "pitch", "roll")], abs=0.06)
        assert cv2.imread(str(tmp_path / "out/photo_6dof.jpg")).shape == (512, 512, 3)

    def test_faces_are_printed_in_the_order_of_the_json(self, run, root, tmp_path):
        _, out, _ = run("image", "-f", root / "examples/inputs/two_people.jpg", "-o", "6dof,pose", "--json")
        faces = json.loads((tmp_path / "out/two_people.json").read_text())["faces"]
        printed = re.findall(r" {13}(\d): (?:(~.+), )?yaw (\S+), pitch", out)
        assert [index for index, _, _ in printed] == ["0", "1", "0", "1"]
        for face, (_, distance, yaw) in zip(faces, printed[:2], strict=True):
            # the camera is a guess
            assert distance == f"~{format_distance(face['six_dof']['distance'], 'cm')}"
            assert float(yaw) == pytest.approx(face["six_dof"]["euler"]["yaw"], abs=0.06)
        for face, (_, _, yaw) in zip(faces, printed[2:], strict=True):
            assert float(yaw) == pytest.approx(face["pose"]["yaw"], abs=0.06)

    def test_a_lens_that_cannot_show_the_face(self, run, photo, tmp_path):
        status, out, err = run("image", "-f", photo, "-o", "6dof", "--fov", "179.5")
        assert (status, err) == (0, "")
        assert "no pose in front of this camera fits the face" in out

    @pytest.mark.parametrize(("option", "value"), [("--fov", "1e-9"), ("--focal", "1e12"), ("--focal", "1e-5")])
    def test_a_focal_length_that_no_camera_has(self, run, photo, option, value):
        status, _, err = run("image", "-f", photo, "-o", "6dof", option, value)
        assert status != 0
        assert f"{option}: " in err

    def test_a_photo_without_exif(self, run, root, photo, tmp_path):
        plain = root / "examples/inputs/astronaut.jpg"
        status, out, err = run("image", "-f", plain, photo, "-o", "6dof", "--intrinsics", "exif")
        assert status == 1
        assert err == f"tddfa: error: {plain}: its EXIF block has no focal length; give --fov or --focal\n"
        assert "photo_6dof.jpg" in out, "the other photo is done"
        # it was not asked for
        assert run("image", "-f", plain, "-o", "2d_sparse", "--intrinsics", "exif")[0] == 0

    def test_bad_calibrations_are_reported_before_the_work(self, run, photo, tmp_path):
        bad = tmp_path / "bad.yml"
        bad.write_text("camera_matrix: 5")
        for name, message in (
            (bad, "bad.yml: camera_matrix: expected 3 x 3 numbers, got 1"),
            (tmp_path / "none.yml", f"error: --intrinsics: {tmp_path / 'none.yml'}: No such file or directory\n"),
            ("guessed", "guessed: expected a calibration that ends in"),
        ):
            status, out, err = run("image", "-f", photo, "--intrinsics", name)
            assert (status, out) == (1, "")
            assert message in err
            assert len(err.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_a_calibration_of_another_aspect_fails_one_photo(self, run, photo, tmp_path):
        path = tmp_path / "wide.json"
        path.write_text(json.dumps({"camera_matrix": MATRIX, "image_width": 1920, "image_height": 1080}))
        status, _, err = run("image", "-f", photo, "-o", "6dof", "--intrinsics", path)
        assert status == 1
        assert "wide.json: made for images of 1920 x 1080 px" in err

    @pytest.mark.parametrize(
        "options",
        [["--fov", "0"], ["--fov", "180"], ["--fov", "wide"], ["--focal", "-3"], ["--focal", "nan"], ["--focal", "inf"],
         ["--fov", "60", "--focal", "900"], ["--intrinsics", "exif", "--fov", "60"]],
    )  # fmt: skip
    @pytest.mark.parametrize("command", ["image", "video", "webcam"])
    def test_wrong_options(self, command, capsys, options):
        with pytest.raises(SystemExit) as caught:
            main([command, *options])
        assert caught.value.code == 2
        assert options[-2] in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut):
    path = tmp_path_factory.mktemp("clip") / "slide.mp4"
    with video.Writer(path, fps=25) as writer:
        for number in range(6):
            writer.write(np.roll(astronaut[:300, 60:380], 2 * number, axis=1), number / 25)
    return path


def test_options_without_effect_are_warned_about(run, photo):
    status, _, err = run("image", "-f", photo, "-o", "2d_sparse", "--fov", "60", "--raw", "png", "--uv_mask")
    assert status == 0
    assert err.splitlines() == [
        "tddfa: warning: --intrinsics, --fov, --focal: no effect without -o 6dof or --json",
        "tddfa: warning: --uv-mask: no effect without -o uv_tex",
        "tddfa: warning: --raw: no effect without -o depth",
    ]
    assert run("image", "-f", photo, "-o", "depth,6dof", "--fov", "60", "--raw", "png")[2] == ""


def test_a_missing_package_is_reported_before_the_work_begins(run, photo, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "glb", replace(KINDS["glb"], needs=("pyarrow",)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, out, err = run("image", "-f", photo, "-o", "glb")
    assert (status, out, err) == (1, "", "tddfa: error: -o glb needs pyarrow: pip install pyarrow\n")


@pytest.mark.parametrize("command", ["image", "align", "video", "webcam"])
def test_a_file_in_place_of_the_output_folder(capsys, photo, command):
    assert main([command, *(["-f", str(photo)] if command != "webcam" else []), "--out", str(photo / "x")]) == 1
    assert capsys.readouterr().err == f"tddfa: error: --out: {photo} is not a folder\n"


class TestVideo:
    def lines(self, path):
        return [json.loads(line)["faces"][0] for line in path.read_text().splitlines()]

    def test_6dof(self, run, clip, tmp_path):
        status, _, err = run("video", "-f", clip, "-o", "6dof", "--fov", "40", "--save", tmp_path / "f.jsonl")
        assert (status, err) == (0, "")
        before, after = (
            [f.image for f in video.frames(path)] for path in (clip, tmp_path / "out/slide_6dof_smooth.mp4")
        )
        assert len(before) == len(after)
        assert np.abs(after[3].astype(int) - before[3])[40:160, 90:230].mean() > 20
        faces = self.lines(tmp_path / "f.jsonl")
        focal = 160 / np.tan(np.radians(20))
        for face in faces:
            assert face["six_dof"]["intrinsics"]["matrix"][0][0] == pytest.approx(focal, abs=1e-3)
            assert sum(face["visible"]) > 50
        # it slides sideways by 2 px a frame, and comes no nearer
        places = np.array([face["six_dof"]["translation"] for face in faces])
        steps = np.diff(places, axis=0)[1:]
        np.testing.assert_allclose(steps[:, 0].mean(), 2 / focal * places[:, 2].mean(), rtol=0.4)
        assert np.abs(steps[:, 2]).mean() < 0.03 * places[:, 2].mean()

    @pytest.mark.parametrize(("options", "dense"), [([], False), (["--focal", "500"], True)])
    def test_records_hold_slow_numbers_only_if_asked_for(self, run, clip, tmp_path, options, dense):
        status, _, _ = run("video", "-f", clip, "--no_video", "--save", tmp_path / "f.jsonl", *options)
        assert status == 0
        for face in self.lines(tmp_path / "f.jsonl"):
            assert (face["six_dof"] is not None) == dense
            assert (face["visible"] is not None) == dense
            assert len(face["quaternion"]["values"]) == 4

    @pytest.mark.parametrize("command", ["video", "webcam"])
    def test_frames_have_no_exif(self, run, clip, command):
        source = "-f" if command == "video" else "--source"
        status, _, err = run(command, source, clip, "--intrinsics", "exif")
        assert status == 2
        assert "--intrinsics: expected assumed or a file" in err

    def test_webcam(self, run, clip, tmp_path, calibration):
        status, out, _ = run("webcam", "--source", clip, "-o", "6dof", "--intrinsics", calibration)
        assert status == 0
        assert "webcam_6dof_1.mp4" in out
