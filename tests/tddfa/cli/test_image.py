import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

from builders import without_volumes
from tddfa import draw
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.outputs import KINDS, Options, Outputs, image_kinds

FAILED, NO_FACE = 1, 255

DRAWN, ALL = without_volumes(image_kinds()), ",".join(without_volumes(KINDS))


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    """A window would wait for a key."""
    monkeypatch.setattr(cli_image, "has_display", lambda: False)


@pytest.fixture(scope="module")
def inputs(root):
    return root / "examples/inputs"


@pytest.fixture
def run(tmp_path, capfd):
    """Run ``tddfa image`` with its files in ``out``; return status, lines of stdout and lines of stderr."""

    def call(*arguments, device="cpu"):
        capfd.readouterr()
        where = ["--device", device] if device else []
        status = main(["image", *map(str, arguments), "--out", str(tmp_path / "out"), *where])
        captured = capfd.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call


def written(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def wrong(capsys, *arguments):
    """The error of argparse about arguments."""
    with pytest.raises(SystemExit) as caught:
        main(["image", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("everything") / "made" / "here"


@pytest.fixture(scope="module")
def printed(inputs, folder):
    """Output of one run over two photos and all kinds; the files are in `folder`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([
            "image", "-f", str(inputs / "astronaut.jpg"), str(inputs / "two_people.jpg"), "-o", ALL,
            "--out", str(folder), "--json", "--format", "png", "--uv_size", "128", "--uv_mask", "--raw", "npy",
            "--device", "cpu", "--show_flag", "false",
        ])  # fmt: skip
    assert status == 0
    return out.getvalue()


class TestAllKinds:
    """One run over two photos and all kinds."""

    def test_names(self, printed, folder):
        expected = [f"{photo}_{kind}.png" for photo in ("astronaut", "two_people") for kind in DRAWN]
        expected += ["astronaut_obj.png", "two_people_obj_1.png", "two_people_obj_2.png"]
        for photo in ("astronaut", "two_people"):
            expected += [f"{photo}.{kind}" for kind in ("ply", "obj", "glb")]
            expected += [f"{photo}.mtl", f"{photo}_depth.npy", f"{photo}_uv_tex_mask.png", f"{photo}.json"]
        assert written(folder) == sorted(expected)

    def test_printed_lines(self, printed, folder, inputs):
        assert f"{inputs / 'astronaut.jpg'}: 1 face (" in printed
        assert f"{inputs / 'two_people.jpg'}: 2 faces (" in printed
        assert printed.count("yaw ") == 6, "of pose, and of 6dof"
        for name in written(folder):
            assert str(folder / name) in printed

    @pytest.mark.parametrize("photo", ["astronaut", "two_people"])
    def test_images(self, printed, folder, aligner, photo, request):
        image = request.getfixturevalue(photo)
        outputs = Outputs(image, aligner(image), aligner, Options(uv_size=128))
        for kind in DRAWN:
            read = cv2.imread(str(folder / f"{photo}_{kind}.png"))
            expected = outputs.draw(kind)
            assert read.shape == expected.shape
            # the last digits of the networks may differ from run to run
            assert (np.abs(read.astype(int) - expected).max(axis=-1) > 8).mean() < 0.002, kind
        numbers = np.load(folder / f"{photo}_depth.npy")
        expected = draw.depth_px(image, outputs.meshes)
        assert (np.isnan(numbers) == np.isnan(expected)).mean() > 0.999
        assert np.nanmedian(np.abs(numbers - expected)) < 0.01

    @pytest.mark.parametrize("photo", ["astronaut", "two_people"])
    def test_json(self, printed, folder, aligner, photo, request):
        image = request.getfixturevalue(photo)
        content = json.loads((folder / f"{photo}.json").read_text())
        assert content["image"] == f"{photo}.jpg"
        assert (content["height"], content["width"]) == image.shape[:2]
        for face, expected in zip(content["faces"], aligner(image), strict=True):
            np.testing.assert_allclose(face["landmarks"], expected.landmarks, atol=0.05)
            np.testing.assert_allclose(face["box"], expected.box, atol=0.05)

    @pytest.mark.parametrize(("photo", "count"), [("astronaut", 1), ("two_people", 2)])
    def test_meshes(self, printed, folder, aligner, photo, count):
        n = len(aligner.face_model.mean)
        assert len(trimesh.load(folder / f"{photo}.ply", process=False).vertices) == n * count
        assert len(trimesh.load(folder / f"{photo}.glb", process=False).geometry) == count


class TestPhotos:
    def test_folders_and_patterns(self, run, inputs, tmp_path, astronaut):
        folder = tmp_path / "photos"
        (folder / "deeper").mkdir(parents=True)
        for name in ("b.JPG", "a.png", "deeper/c.jpg"):
            cv2.imwrite(str(folder / name), astronaut)
        (folder / "notes.txt").write_text("no photo")
        (folder / "folder.jpg").mkdir()
        (folder / "gone.jpg").symlink_to(folder / "nowhere")
        status, out, err = run("-f", folder, folder / "*" / "c.*", folder / "[no pattern].jpg")
        assert status == FAILED  # for the last one
        assert err == [f"tddfa: error: {folder / '[no pattern].jpg'}: no file matches"]
        assert [line.split(": ")[0] for line in out if "face" in line] == [
            str(folder / "a.png"), str(folder / "b.JPG"), str(folder / "deeper" / "c.jpg"),
        ]  # fmt: skip
        assert written(tmp_path / "out") == ["a_2d_sparse.jpg", "b_2d_sparse.jpg", "c_2d_sparse.jpg"]
        skipped = "deeper, folder.jpg (folder), gone.jpg (link to a missing file), notes.txt (not an image)"
        assert out[-1].startswith(f"3 of 3 done, 4 skipped: {skipped}; ")

    def test_a_name_that_looks_like_a_pattern(self, run, tmp_path, astronaut):
        cv2.imwrite(str(tmp_path / "me [1].jpg"), astronaut)
        status, _, err = run("-f", tmp_path / "me [1].jpg")
        assert (status, err) == (0, [])
        assert written(tmp_path / "out") == ["me [1]_2d_sparse.jpg"]

    def test_photos_of_one_name_do_not_replace_each_other(self, run, tmp_path, astronaut, two_people):
        for name, image in (
            ("a/x.png", astronaut),
            ("b/x.png", two_people),
            ("b/x-2.png", astronaut),
            ("c/x.jpg", astronaut),
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name), image)
        photos = [tmp_path / name for name in ("a/x.png", "b/x.png", "b/x-2.png", "c/x.jpg")]
        status, out, _ = run("-f", *photos, "--json")
        assert status == 0
        images = [line.split()[-1] for line in out if line.startswith("  2d_sparse")]
        assert len(set(images)) == 4
        assert len(written(tmp_path / "out")) == 8
        sizes = [cv2.imread(path).shape for path in images]
        assert sizes == [image.shape for image in (astronaut, two_people, astronaut, astronaut)]

    def test_a_photo_whose_name_means_a_folder(self, run, tmp_path, inputs):
        (tmp_path / "in").mkdir()
        for name in ("..jpg", "...jpg"):
            (tmp_path / "in" / name).write_bytes((inputs / "astronaut.jpg").read_bytes())
        before = tmp_path / "out.json"
        before.write_text("mine")
        assert run("-f", tmp_path / "in", "-o", "2d_sparse", "obj", "--json", "--refine", 0)[0] == 0
        assert before.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.json"]
        written = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"_.json", "_.obj", "__2d_sparse.jpg", "__.json", "__.obj", "___2d_sparse.jpg"} <= written

    def test_an_empty_folder(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        status, out, err = run("-f", tmp_path / "empty")
        assert (status, out) == (FAILED, [])
        assert err == [f"tddfa: error: {tmp_path / 'empty'}: no image in this folder"]

    def test_bad_files_among_good_ones(self, run, inputs, tmp_path, astronaut):
        png = cv2.imencode(".png", astronaut)[1].tobytes()
        bad = {
            "text.jpg": b"hello",
            "empty.png": b"",
            "cut.jpg": cv2.imencode(".jpg", astronaut)[1].tobytes()[:9000],
            "cut.png": png[:9000],
            "nearly.png": png[:-2],
        }
        for name, data in bad.items():
            (tmp_path / name).write_bytes(data)
        photos = [tmp_path / name for name in (*bad, "missing.jpg")]
        status, out, err = run("-f", *photos[:3], inputs / "astronaut.jpg", *photos[3:], inputs / "two_people.jpg")
        assert status == FAILED
        assert len(err) == len(photos)
        for line, path in zip(err, photos, strict=True):
            assert line.startswith(f"tddfa: error: {path}: ")
        assert written(tmp_path / "out") == ["astronaut_2d_sparse.jpg", "two_people_2d_sparse.jpg"]
        assert sum(" face" in line for line in out) == 2
        assert out[-1].startswith("2 of 8 done, 6 failed; ")

    def test_no_face(self, run, tmp_path):
        cv2.imwrite(str(tmp_path / "grey.png"), np.full((120, 160, 3), 128, np.uint8))
        cv2.imwrite(str(tmp_path / "dot.png"), np.full((1, 1, 3), 128, np.uint8))
        status, out, err = run("-f", tmp_path / "grey.png", tmp_path / "dot.png", "-o", ALL, "--json")
        assert (status, err) == (NO_FACE, [])
        assert [re.split(r" \(|; ", line)[0] for line in out if not line.startswith(" ")] == [
            f"{tmp_path / 'grey.png'}: no face", f"{tmp_path / 'dot.png'}: no face", "2 of 2 done",
        ]  # fmt: skip
        assert written(tmp_path / "out") == ["dot.json", "grey.json"]
        assert json.loads((tmp_path / "out/grey.json").read_text()) == {
            "schema": 1, "image": "grey.png", "source": str(tmp_path / "grey.png"), "width": 160, "height": 120,
            "precision": "float", "faces": [],
        }  # fmt: skip

    def test_a_photo_without_a_face_beside_one_with(self, run, tmp_path, inputs):
        cv2.imwrite(str(tmp_path / "grey.png"), np.full((120, 160, 3), 128, np.uint8))
        assert run("-f", tmp_path / "grey.png", inputs / "astronaut.jpg")[0] == 0


class TestOptions:
    def test_drawing_options(self, run, tmp_path, inputs, aligner, astronaut):
        status, _, _ = run(
            "-f", inputs / "astronaut.jpg", "-o", "3d, pose ,3d,depth,uv_tex", "--format", "png",
            "--background", "black", "--alpha", "0.25", "--pose_style", "axes", "--uv_size", "64", "--raw", "png",
        )  # fmt: skip
        assert status == 0
        out = tmp_path / "out"
        assert written(out) == [f"astronaut_{name}.png" for name in ("3d", "depth", "depth_raw", "pose", "uv_tex")]
        made = Outputs(
            astronaut, aligner(astronaut), aligner,
            Options(background="black", alpha=0.25, pose_style="axes", uv_size=64),
        )  # fmt: skip
        for kind in ("3d", "pose", "depth", "uv_tex"):
            read = cv2.imread(str(out / f"astronaut_{kind}.png"))
            assert (np.abs(read.astype(int) - made.draw(kind)).max(axis=-1) > 8).mean() < 0.002, kind
        steps = cv2.imread(str(out / "astronaut_depth_raw.png"), cv2.IMREAD_UNCHANGED).astype(float)
        expected = draw.depth_px(astronaut, made.meshes)
        both = (steps > 0) & np.isfinite(expected)
        assert both.sum() > 0.99 * np.isfinite(expected).sum()
        difference = (steps[both] - 1) / 16 + np.nanmin(expected) - expected[both]
        assert np.percentile(np.abs(difference), 99) < 0.1

    def test_3d_files(self, run, tmp_path, inputs, aligner):
        status, _, _ = run(
            "-f", inputs / "astronaut.jpg", "-o", "ply,obj", "--ascii", "--vertex_colors", "--uv_size", "64",
        )  # fmt: skip
        assert status == 0
        assert (tmp_path / "out/astronaut.ply").read_text().startswith("ply\nformat ascii 1.0\n")
        loaded = trimesh.load(tmp_path / "out/astronaut.ply", process=False)
        assert loaded.visual.kind == "vertex"
        assert len(loaded.vertices) == len(aligner.face_model.mean)
        first = next(
            line for line in (tmp_path / "out/astronaut.obj").read_text().splitlines() if line.startswith("v ")
        )
        assert len(first.split()) == 7

    def test_options_of_3ddfa_v2(self, run, tmp_path, inputs):
        status, out, err = run(
            "-f", inputs / "astronaut.jpg", "-c", "configs/open_mb05.yml", "-m", "cpu", "-o", "2d_sparse", "--onnx",
            "--show_flag", "false", device=None,
        )  # fmt: skip
        assert (status, err) == (0, [])
        assert ", cpu)" in out[0]
        assert written(tmp_path / "out") == ["astronaut_2d_sparse.jpg"]

    def test_refine_and_threads(self, run, tmp_path, inputs, aligner, astronaut):
        def landmarks(*arguments):
            assert run("-f", inputs / "astronaut.jpg", "--json", *arguments)[0] == 0
            return np.array(json.loads((tmp_path / "out/astronaut.json").read_text())["faces"][0]["landmarks"])

        plain, fast, refined = landmarks("--threads", "1"), landmarks("--refine", "0"), landmarks("--refine", "2")
        np.testing.assert_allclose(plain, aligner(astronaut)[0].landmarks, atol=0.05)
        for other in (fast, refined):
            difference = np.linalg.norm(other[:, :2] - plain[:, :2], axis=1).mean()
            assert 0.01 < difference < 6

    def test_tiles(self, run, tmp_path, astronaut):
        """A small face of a long image."""
        long = np.full((14000, 600, 3), 120, np.uint8)
        face = cv2.resize(astronaut[:280, 90:370], (50, 50), interpolation=cv2.INTER_AREA)
        long[3100:3150, 200:250] = face
        cv2.imwrite(str(tmp_path / "long.png"), long)
        options = "-f", tmp_path / "long.png", "-o", "2d_sparse", "--rotations", "off"
        assert run(*options)[0] == 0
        assert run(*options, "--tiles", "off")[0] == NO_FACE

    def test_rotations(self, run, tmp_path, astronaut):
        """An upside-down face, which is found by default; the file says by which roll its crop was rotated."""
        cv2.imwrite(str(tmp_path / "down.png"), astronaut[::-1, ::-1])
        assert run("-f", tmp_path / "down.png", "--json", "-o", "2d_sparse")[0] == 0
        (face,) = json.loads((tmp_path / "out/down.json").read_text())["faces"]
        assert abs(face["roi"]["angle"]) > 165
        assert abs(face["pose"]["roll"]) > 165
        # the detector's points tell the roll; without the other tries a given box gives no upside-down face
        (tmp_path / "b.txt").write_text(" ".join(str(edge) for edge in face["box"]) + "\n")
        boxes = ("--boxes", tmp_path / "b.txt")
        assert run("-f", tmp_path / "down.png", "--json", "-o", "2d_sparse", *boxes, "--rotations", "off")[0] == 0
        (upright,) = json.loads((tmp_path / "out/down.json").read_text())["faces"]
        assert abs(upright["pose"]["roll"]) < 90 or upright["score"] < 0.5

    def test_boxes_leave_options_without_an_effect(self, run, tmp_path, inputs):
        (tmp_path / "b.txt").write_text("173 70 273 192\n")
        options = "-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "b.txt", "-o", "box"
        assert run(*options)[2] == []
        status, _, err = run(*options, "--min-score", "0.99", "--tiles", "off")
        assert status == 0
        assert [line.rpartition("warning: ")[2] for line in err] == [
            f"--{name}: no effect with --boxes" for name in ("min-score", "tiles")
        ]

    def test_min_score(self, run, tmp_path, inputs):
        """A score above that of every face, and one that keeps every detection."""

        def scores(*arguments):
            run("-f", inputs / "two_people.jpg", "--json", *arguments)
            faces = json.loads((tmp_path / "out/two_people.json").read_text())["faces"]
            return [face["score"] for face in faces]

        usual = scores()
        assert len(usual) == 2 and scores("--min-score", "1") == []
        assert sorted(scores("--min_score", "0"), reverse=True)[:2] == sorted(usual, reverse=True)
        assert len(scores("--min-score", str((usual[0] + usual[1]) / 2))) == 1

    def test_convention(self, run, tmp_path, inputs, aligner, astronaut):
        (face,) = aligner(astronaut)
        for arguments, convention in (([], "300w"), (["--landmarks", "300w-lp"], "300w-lp")):
            assert run("-f", inputs / "astronaut.jpg", "--json", *arguments)[0] == 0
            (record,) = json.loads((tmp_path / "out/astronaut.json").read_text())["faces"]
            np.testing.assert_allclose(record["landmarks"], aligner.decoder.landmarks(face, convention), atol=0.05)
            assert record["landmark_convention"] == convention
        status, _, err = run("-f", inputs / "astronaut.jpg", "--landmarks", "98")
        assert status == 2
        assert err[-1] == "tddfa image: error: --landmarks: expected one of 300w, 300w-lp, got '98'"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["-o", "2d_sparse,4d"], ("--opt", "2d_sparse, 2d_dense", "'2d_sparse,4d'")),
            (["-o", ""], ("--opt", "expected one or more")),
            (["-o", ","], ("--opt", "','")),
            (["--alpha", "1.5"], ("--alpha", "from 0 to 1", "'1.5'")),
            (["--alpha", "nan"], ("--alpha", "'nan'")),
            (["--alpha", "much"], ("--alpha", "'much'")),
            (["--uv_size", "8"], ("--uv-size", "from 16 to 8192", "'8'")),
            (["--uv_size", "1e3"], ("--uv-size", "'1e3'")),
            (["--threads", "0"], ("--threads", "'0'")),
            (["--refine", "-1"], ("--refine", "'-1'")),
            (["--refine", "99"], ("--refine", "from 0 to 10")),
            (["--min-score", "2"], ("--min-score", "from 0 to 1", "'2'")),
            (["--tiles", "on"], ("--tiles", "'auto', 'off'", "'on'")),
            (["--show_flag", "perhaps"], ("--show-flag", "true or false", "'perhaps'")),
            (["--device", "tpu"], ("--device", "'tpu'")),
            (["-m", "tpu"], ("--mode", "'tpu'")),
            (["--format", "gif"], ("--format", "'gif'")),
            (["--background", "red"], ("--background", "'red'")),
            (["--pose_style", "cube"], ("--pose-style", "'cube'")),
            (["--raw", "tiff"], ("--raw", "'tiff'")),
            (["a.jpg", "--nonsense"], ("tddfa image: error: unknown option --nonsense; see tddfa image --help",)),
            (["a.jpg", "--form", "png"], ("tddfa image: error: unknown option --form; did you mean --format?",)),
            (["--uvsize=9", "a.jpg"], ("unknown option --uvsize; did you mean --uv-size?",)),
            (["-f"], ("--img-fp", "expected at least one argument")),
        ],
    )
    def test_wrong_values_are_named(self, capsys, arguments, words):
        printed = wrong(capsys, *arguments)
        assert all(word in printed for word in words), printed

    def test_no_command(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main([])
        assert caught.value.code == 2
        assert "COMMAND" in capsys.readouterr().err

    def test_version(self, capsys):
        from tddfa import __version__

        with pytest.raises(SystemExit) as caught:
            main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"tddfa {__version__}\n"


class TestFailures:
    def test_an_output_folder_that_cannot_be_made(self, run, tmp_path, inputs):
        (tmp_path / "out").write_text("in the way")
        status, _, err = run("-f", inputs / "astronaut.jpg")
        assert status == FAILED
        assert len(err) == 1
        assert str(tmp_path / "out") in err[0]
        assert (tmp_path / "out").read_text() == "in the way"

    @pytest.mark.parametrize("name", ["nothing", "nothing.yml", "configs/nothing.yml"])
    def test_a_config_that_does_not_exist(self, run, tmp_path, inputs, name):
        status, out, err = run("-f", inputs / "astronaut.jpg", "-c", name)
        assert (status, out, len(err)) == (FAILED, [], 1)
        assert name in err[0]
        assert "open_mb05" in err[0]
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "content", ["", "[1]", "model: [", "model: x.onnx\n", "no: key\n", "\0", "model: &a [*a]\n"]
    )
    def test_a_config_with_other_content(self, run, tmp_path, inputs, content):
        (tmp_path / "mine.yml").write_text(content)
        status, out, err = run("-f", inputs / "astronaut.jpg", "-c", tmp_path / "mine.yml")
        assert (status, out, len(err)) == (FAILED, [], 1)
        assert str(tmp_path / "mine.yml") in err[0]

    def test_an_interrupt(self, monkeypatch, inputs, tmp_path):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(cli_image._Run, "photo", interrupted)
        assert main(["image", "-f", str(inputs / "astronaut.jpg"), "--out", str(tmp_path), "--device", "cpu"]) == 130


class TestBoxes:
    def landmarks(self, folder, photo="astronaut"):
        return [face["landmarks"] for face in json.loads((folder / f"out/{photo}.json").read_text())["faces"]]

    def test_text(self, run, tmp_path, inputs, aligner, astronaut):
        (tmp_path / "boxes.txt").write_text("# x1 y1 x2 y2\n\n180 62 272 176\n170.5, 70, 280, 190.25, 0.5  # again\n")
        status, _, err = run("-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "boxes.txt", "--json")
        assert (status, len(err)) == (FAILED, 1)  # five numbers in one line and four in another are no table
        (tmp_path / "boxes.txt").write_text("# x1 y1 x2 y2\n\n180 62 272 176\n170.5, 70, 280, 190.25  # again\n")
        status, out, _ = run("-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "boxes.txt", "--json")
        assert status == 0
        assert ": 2 faces (" in out[0]
        expected = aligner(astronaut, boxes=[[180, 62, 272, 176], [170.5, 70, 280, 190.25]])
        aligned = self.landmarks(tmp_path)
        np.testing.assert_allclose(aligned, [face.landmarks for face in expected], atol=0.05)

    def test_json(self, run, tmp_path, inputs, aligner, astronaut, two_people):
        boxes = {
            "astronaut.jpg": [[180, 62, 272, 176, 0.75]],
            "two_people.jpg": [[658, 101, 812, 285]],
            "other.jpg": "?",
        }
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        status, _, err = run(
            "-f", inputs / "astronaut.jpg", inputs / "two_people.jpg", "--boxes", tmp_path / "boxes.json", "--json"
        )
        assert (status, err) == (0, [])
        for photo, image in (("astronaut", astronaut), ("two_people", two_people)):
            expected = aligner(image, boxes=boxes[f"{photo}.jpg"])
            np.testing.assert_allclose(self.landmarks(tmp_path, photo), [f.landmarks for f in expected], atol=0.05)

    def test_no_boxes_are_no_faces(self, run, tmp_path, inputs):
        (tmp_path / "boxes.json").write_text('{"astronaut.jpg": []}')
        status, _, err = run("-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "boxes.json", "--json")
        assert (status, err) == (NO_FACE, [])
        assert self.landmarks(tmp_path) == []
        (tmp_path / "boxes.txt").write_text("# no face\n")
        assert run("-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "boxes.txt")[0] == NO_FACE

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("b.txt", b"1 2 3\n", "expected rows x1 y1 x2 y2"),
            ("b.txt", b"1 2 3 4\n1 2 3 4 5\n", "expected"),
            ("b.txt", b"a b c d\n", "expected lines 'x1 y1 x2 y2'"),
            ("b.txt", b"\xff\xfe\0", "not a file of boxes"),
            ("b.json", b"{", "not a file of boxes"),
            ("b.json", b"", "not a file of boxes"),
            ("b.json", b"[[1, 2, 3, 4]]", "expected photo names and their boxes, got list"),
            ("b.json", b'{"other.jpg": [[1, 2, 3, 4]]}', "no boxes for astronaut.jpg"),
            ("b.json", b'{"astronaut.jpg": [[1, 2, 3]]}', "expected rows x1 y1 x2 y2"),
            ("b.json", b'{"astronaut.jpg": [1, 2, 3, 4]}', "expected rows x1 y1 x2 y2"),
            ("b.json", b'{"astronaut.jpg": "x"}', "expected rows x1 y1 x2 y2"),
            ("b.json", b'{"astronaut.jpg": {"a": 1}}', "expected rows x1 y1 x2 y2"),
            ("b.json", b'{"astronaut.jpg": [[1, 2, 3, null]]}', "expected"),
            ("b.json", b'{"astronaut.jpg": [[1, 2, 3, 1e999]]}', "expected"),
            ("b.json", b"[" * 200_000, "not a file of boxes"),
            ("b.json", b'{"astronaut.jpg": [[' + b"9" * 5000 + b", 2, 3, 4]]}", "b.json"),
            ("b.txt", b"50 50 10 10\n", "expected"),
            ("b.txt", b"nan 5 10 10\n", "expected"),
            ("b.txt", b"1 2 1e39 4\n", "expected"),
            (None, b"", "cannot be read: No such file"),
        ],
    )
    def test_bad_files(self, run, tmp_path, inputs, name, content, words):
        path = tmp_path / (name or "missing.txt")
        if name:
            path.write_bytes(content)
        status, _, err = run("-f", inputs / "astronaut.jpg", "--boxes", path)
        assert (status, len(err)) == (FAILED, 1)
        assert words in err[0]
        assert len(err[0]) < 500
        assert written(tmp_path / "out") == []

    def test_lines_of_boxes_are_for_one_photo(self, run, tmp_path, inputs):
        (tmp_path / "b.txt").write_text("180 62 272 176\n")
        status, _, err = run("-f", inputs / "astronaut.jpg", inputs / "two_people.jpg", "--boxes", tmp_path / "b.txt")
        assert (status, len(err)) == (FAILED, 1)
        assert "expected one photo for lines of boxes, got 2" in err[0]

    def test_boxes_that_leave_the_image(self, run, tmp_path, inputs):
        (tmp_path / "b.txt").write_text("500 500 600 600\n-90 -90 10 10\n")
        status, _, err = run(
            "-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "b.txt", "-o", ALL, "--uv_size", "64",
            "--raw", "png",
        )  # fmt: skip
        assert (status, err) == (0, [])
        assert len(written(tmp_path / "out")) == len(without_volumes(KINDS)) + 4  # and raw depth, .mtl, two textures

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("5000 5000 5100 5100", "expected a part of the image of 512 x 512 px, got 5000 5000 5100 5100"),
            ("0.3 0.1 0.5 0.4", "expected px, got 0.3 0.1 0.5 0.4"),
        ],
    )
    def test_boxes_that_are_refused(self, run, tmp_path, inputs, line, words):
        (tmp_path / "b.txt").write_text(f"180 62 272 176\n{line}\n")
        status, _, err = run("-f", inputs / "astronaut.jpg", "--boxes", tmp_path / "b.txt")
        assert (status, len(err)) == (FAILED, 1)
        assert f"astronaut.jpg: boxes: {words}" in err[0]
        assert written(tmp_path / "out") == []


class TestPages:
    @pytest.fixture
    def pages(self, tmp_path, astronaut):
        """Two pages: one without a face, one with."""
        photo = Image.fromarray(np.ascontiguousarray(astronaut[..., ::-1]))
        Image.new("RGB", (64, 64)).save(tmp_path / "p.tif", save_all=True, append_images=[photo])
        return tmp_path / "p.tif"

    def test_one_of_them(self, run, tmp_path, pages, caplog):
        assert run("-f", pages)[0] == NO_FACE
        assert caplog.messages == [f"{pages}: page 1 of 2 is read; page=N or --page N reads another"]
        caplog.clear()
        status, out, err = run("-f", pages, "--page", "2")
        assert (status, err) == (0, [])
        assert out[0].startswith(f"{pages}, page 2: 1 face (")
        assert written(tmp_path / "out") == ["p_2d_sparse.jpg"]
        assert not caplog.messages

    def test_all(self, run, tmp_path, pages, inputs):
        status, _, err = run("-f", pages, inputs / "astronaut.jpg", "--page", "all", "--json")
        assert (status, err) == (0, [])
        assert written(tmp_path / "out") == [
            "astronaut.json", "astronaut_2d_sparse.jpg", "p_page1.json", "p_page2.json", "p_page2_2d_sparse.jpg",
        ]  # fmt: skip
        made = [json.loads((tmp_path / f"out/p_page{page}.json").read_text()) for page in (1, 2)]
        assert [(each["source"], each["page"]) for each in made] == [(str(pages), 1), (str(pages), 2)]

    def test_a_page_that_is_not_there(self, run, pages):
        status, _, err = run("-f", pages, "--page", "3")
        assert status == FAILED
        assert err == [f"tddfa: error: {pages}: expected a page from 1 to 2, got 3"]

    @pytest.mark.parametrize("value", ["0", "-1", "first", ""])
    def test_wrong_values(self, capsys, value):
        assert f"--page: expected a page from 1, or all, got {value!r}" in wrong(capsys, f"--page={value}")


def test_demo_is_the_same_command(root, tmp_path):
    done = subprocess.run(
        [sys.executable, root / "demo.py", "-f", root / "examples/inputs/astronaut.jpg", "-o", "2d_sparse,3d", "--out",
         tmp_path / "out", "--device", "cpu", "--show_flag=false"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "astronaut.jpg: 1 face (" in done.stdout
    assert written(tmp_path / "out") == ["astronaut_2d_sparse.jpg", "astronaut_3d.jpg"]


def test_a_transparent_background(run, inputs, tmp_path):
    status, *_ = run("-f", inputs / "astronaut.jpg", "-o", "3d", "--background", "transparent", "--format", "png")
    assert status == 0
    (path,) = (tmp_path / "out").iterdir()
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (512, 512, 4)
    error = "--background transparent: expected --format png or webp, got jpg"
    assert error in run("-f", inputs / "astronaut.jpg", "-o", "3d", "--background", "transparent")[2][-1]


def test_numbers_alone(run, inputs, tmp_path):
    assert run("-f", inputs / "astronaut.jpg", "-o", "none", "--json", "--landmarks-csv")[0] == 0
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["astronaut.json", "astronaut_landmarks_0.csv"]
    status, _, err = run("-f", inputs / "astronaut.jpg", "-o", "none")
    assert status == 2
    assert "-o none: expected --json or --landmarks-csv with it, or there would be no result" in err[-1]


@pytest.mark.parametrize(("words", "got"), [(["none", "3d"], "none, 3d"), (["3d", "-o", "None"], "3d, none")])
def test_none_is_alone(capsys, words, got):
    assert f"expected none alone, got {got}" in wrong(capsys, "-o", *words)


def test_other_kinds_are_done_if_one_fails(run, inputs, tmp_path, monkeypatch):
    from tddfa import outputs

    def fail(_):
        raise cv2.error("OpenCV failed")

    monkeypatch.setitem(outputs.KINDS, "3d", replace(outputs.KINDS["3d"], make=fail))
    status, _, err = run("-f", inputs / "astronaut.jpg", "-o", "3d,pose", "--out", tmp_path / "out")
    assert status == 1
    assert err == ["tddfa: error: OpenCV failed"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["astronaut_pose.jpg"]


class TestSafety:
    """A run must not harm the files and programs around it."""

    def test_an_output_never_replaces_an_input(self, run, inputs, tmp_path):
        photo = (inputs / "astronaut.jpg").read_bytes()
        out = tmp_path / "out"
        out.mkdir()
        for name in ("q.jpg", "q_3d.jpg"):
            (out / name).write_bytes(photo)
        status, _, err = run("-f", out / "q.jpg", out / "q_3d.jpg", "-o", "3d")
        assert status == FAILED
        assert len(err) == 1
        assert "q_3d.jpg: an output of this run could replace it" in err[0]
        assert (out / "q_3d.jpg").read_bytes() == photo

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("Q_3D.jpg", ["-o", "3d"]),  # one file with q_3d.jpg to Windows and macOS
            ("q_depth_raw.png", ["-o", "depth", "--raw", "png"]),
            ("q_uv_tex_mask.png", ["-o", "uv_tex", "--uv_mask"]),
            ("q_obj.png", ["-o", "obj"]),
            ("q_obj_2.png", ["-o", "obj"]),
        ],
    )
    def test_nor_does_a_file_beside_an_output(self, run, inputs, tmp_path, name, options):
        photo = (inputs / "astronaut.jpg").read_bytes()
        out = tmp_path / "out"
        out.mkdir()
        for each in ("q.jpg", name):
            (out / each).write_bytes(photo)
        status, _, err = run("-f", out / "q.jpg", out / name, *options)
        assert (status, len(err)) == (FAILED, 1)
        assert f"{name}: an output of this run could replace it" in err[0]
        assert (out / name).read_bytes() == photo

    def test_only_names_that_would_be_written_are_refused(self, run, inputs, tmp_path):
        out = tmp_path / "out"
        out.mkdir()
        for name in ("q.jpg", "q_3d.jpg"):
            (out / name).write_bytes((inputs / "astronaut.jpg").read_bytes())
        assert run("-f", out / "q.jpg", out / "q_3d.jpg", "-o", "3d", "--format", "png")[0] == 0
        assert (out / "q_3d.png").is_file()

    def test_a_calibration_is_not_replaced(self, run, inputs, tmp_path):
        (tmp_path / "q.jpg").write_bytes((inputs / "astronaut.jpg").read_bytes())
        calibration = tmp_path / "out/q.json"
        calibration.parent.mkdir()
        calibration.write_text('{"camera_matrix": [[900, 0, 256], [0, 900, 256], [0, 0, 1]]}')
        before = calibration.read_text()
        status, _, err = run("-f", tmp_path / "q.jpg", "--intrinsics", calibration, "--json")
        assert (status, len(err)) == (FAILED, 1)
        assert "q.json: an output of this run could replace it" in err[0]
        assert calibration.read_text() == before

    def test_a_file_of_boxes_is_not_replaced(self, run, inputs, tmp_path):
        (tmp_path / "q.jpg").write_bytes((inputs / "astronaut.jpg").read_bytes())
        boxes = tmp_path / "out/q.json"
        boxes.parent.mkdir()
        boxes.write_text(json.dumps({"q.jpg": [[173, 70, 273, 192]]}))
        status, _, err = run("-f", tmp_path / "q.jpg", "--boxes", boxes, "--json")
        assert status == FAILED
        assert "q.json" in err[0]
        assert json.loads(boxes.read_text()) == {"q.jpg": [[173, 70, 273, 192]]}

    def test_a_file_in_place_of_the_output_folder(self, run, inputs, tmp_path):
        (tmp_path / "out").write_text("")
        status, _, err = run("-f", inputs / "astronaut.jpg")
        assert (status, len(err)) == (FAILED, 1)
        assert "is not a folder" in err[0]

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
    def test_photos_are_done_if_the_display_is_gone(self, inputs, tmp_path):
        import os

        command = ["-m", "tddfa", "image", "-f", str(inputs / "astronaut.jpg"), "--out", str(tmp_path)]
        env = {**os.environ, "DISPLAY": ":6577"}
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "astronaut_2d_sparse.jpg").is_file()

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes")
    def test_a_closed_pipe_prints_no_error(self, inputs, tmp_path):
        command = ["-m", "tddfa", "image", "-f", *[str(inputs / "astronaut.jpg")] * 3, "--out", str(tmp_path)]
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        process.wait(timeout=60)
        assert err == ""
