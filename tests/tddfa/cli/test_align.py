import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from tddfa._shared import image_io
from tddfa._shared.terminal.parser import Parser
from tddfa.cli import align as cli_align
from tddfa.cli import main
from tddfa.face_crops import aligned as recognition
from tddfa.face_crops.aligned import align_face, alignment, five_points, ordered
from tddfa.face_crops.frontal import frontal_view, frontalise
from tddfa.synthetic import Head, State, backdrop, render

FAILED, NO_FACE = 1, 255


@pytest.fixture(scope="module")
def inputs(root):
    return root / "examples/inputs"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "out"


@pytest.fixture
def run(out, capfd):
    """Run ``tddfa align`` with its files in `out`; return status, lines of stdout and lines of stderr."""

    def call(*arguments):
        capfd.readouterr()
        status = main(["align", *map(str, arguments), "--out", str(out), "--device", "cpu"])
        captured = capfd.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call


def written(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def same(path, expected, limit=8):
    """Whether a file holds this image; the last digits of the networks may differ from run to run."""
    read = cv2.imread(str(path))
    assert read.shape == expected.shape
    return (np.abs(read.astype(int) - expected).max(axis=-1) > limit).mean() < 0.01


class TestCrops:
    def test_every_face_of_every_photo(self, run, out, inputs, aligner, astronaut, two_people):
        status, printed, err = run(inputs / "astronaut.jpg", inputs / "two_people.jpg", "--format", "png")
        assert (status, err) == (0, [])
        assert written(out) == ["astronaut_0.png", "two_people_0.png", "two_people_1.png"]
        assert printed[0].startswith(f"{inputs / 'astronaut.jpg'}: 1 face (")
        assert printed[0].endswith(" ms, cpu)")
        assert printed[1] == f"  aligned    {out / 'astronaut_0.png'}"
        assert printed[3] == f"  aligned    {out / 'two_people_0.png'} {out / 'two_people_1.png'}"
        assert re.fullmatch(r"2 of 2 done; \d+\.\d s, \d+(\.\d+)? photos/s", printed[4])
        assert len(printed) == 5
        assert same(out / "astronaut_0.png", align_face(astronaut, aligner(astronaut)[0]))
        for k, face in enumerate(ordered(aligner(two_people), "position", two_people.shape[:2])):
            assert same(out / f"two_people_{k}.png", align_face(two_people, face))

    @pytest.mark.parametrize("options", [["--frontal"], ["--frontal", "--template", "auto"]])
    def test_frontal(self, run, out, inputs, aligner, astronaut, options):
        status, printed, _ = run(inputs / "astronaut.jpg", *options, "--size", "224", "--format", "png", "--json")
        assert status == 0
        assert printed[1] == f"  frontal    {out / 'astronaut_0.png'}"
        face = aligner(astronaut)[0]
        assert same(out / "astronaut_0.png", frontalise(astronaut, face, aligner.decoder.mesh(face), size=224))
        content = json.loads((out / "astronaut.json").read_text())
        assert (content["frontal"], content["template"], content["faces"][0]["matrix"]) == (True, "arcface", None)

    def test_frontal_mask_and_the_mirrored_fraction_of_a_turned_head(self, run, out, tmp_path, aligner):
        head = Head.procedural(aligner.face_model, seed=1)
        image, _ = render((360, 400), [(head, State(size=170, x=200, y=170, yaw=55))], backdrop((360, 400), seed=3))
        photo = image_io.write(tmp_path / "turned.png", image)
        options = ("--frontal", "--frontal-mask", "--format", "png", "--json")
        status, printed, _ = run(photo, *options)
        assert status == 0
        assert written(out) == ["turned.json", "turned_0.png", "turned_0_mask.png"]
        face = aligner(image)[0]
        view = frontal_view(image, face, aligner.decoder.mesh(face))
        assert view.mirrored > 0.3
        assert f"  face 0: {100 * view.mirrored:.0f} % of the face is mirrored or filled" in printed
        mask = cv2.imread(str(out / "turned_0_mask.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, view.mask)
        record = json.loads((out / "turned.json").read_text())["faces"][0]
        assert record["mirrored"] == pytest.approx(view.mirrored, abs=1e-3)

    def test_frontal_mask_without_frontal_has_no_effect(self, run, out, inputs):
        status, _, errors = run(inputs / "astronaut.jpg", "--frontal-mask")
        assert status == 0
        assert any("--frontal-mask: no effect without --frontal" in line for line in errors)
        assert written(out) == ["astronaut_0.jpg"]

    def test_jpg_is_the_default(self, run, out, inputs, aligner, astronaut):
        assert run("-f", inputs / "astronaut.jpg")[0] == 0
        assert written(out) == ["astronaut_0.jpg"]
        assert same(out / "astronaut_0.jpg", align_face(astronaut, aligner(astronaut)[0]), limit=40)

    @pytest.mark.parametrize("order", recognition.ORDERS)
    def test_order_and_number_of_faces(self, run, out, inputs, aligner, two_people, order):
        status, printed, _ = run(
            inputs / "two_people.jpg", "--order", order, "--max-faces", "1", "--format", "png", "--size", "64"
        )
        assert status == 0
        assert ": 2 faces, 1 wanted (" in printed[0]
        assert written(out) == ["two_people_0.png"]
        first = ordered(aligner(two_people), order, two_people.shape[:2])[0]
        assert same(out / "two_people_0.png", align_face(two_people, first, size=64))

    def test_template(self, run, out, inputs, aligner, astronaut):
        assert run(inputs / "astronaut.jpg", "--template", "auto", "--format", "png")[0] == 0
        assert same(out / "astronaut_0.png", align_face(astronaut, aligner(astronaut)[0], template="auto"))
        assert not same(out / "astronaut_0.png", align_face(astronaut, aligner(astronaut)[0]))

    def test_json(self, run, out, inputs, aligner, two_people):
        assert run(inputs / "two_people.jpg", "--json", "--size", "224")[0] == 0
        content = json.loads((out / "two_people.json").read_text())
        assert content.pop("source") == str(inputs / "two_people.jpg")
        faces = content.pop("faces")
        assert content == {
            "schema": 1, "width": 948, "height": 512, "size": 224, "template": "arcface", "frontal": False,
            "precision": "float",
        }  # fmt: skip
        expected = ordered(aligner(two_people), "position", two_people.shape[:2])
        for k, (record, face) in enumerate(zip(faces, expected, strict=True)):
            assert set(record) == {"file", "box", "score", "pose", "points", "matrix", "mirrored"}
            assert record["mirrored"] is None
            assert record["file"] == f"two_people_{k}.jpg"
            np.testing.assert_allclose(record["box"], face.box, atol=0.05)
            np.testing.assert_allclose(record["points"], five_points(face), atol=0.05)
            np.testing.assert_allclose(record["matrix"], alignment(face, 224), rtol=0.01)
            np.testing.assert_allclose(list(record["pose"].values()), face.camera.euler_degrees(), atol=0.1)
            assert record["score"] == pytest.approx(face.score, abs=1e-3)

    def test_thresholds(self, run, out, inputs):
        assert run(inputs / "two_people.jpg", "--det-threshold", "1")[0] == NO_FACE
        assert run(inputs / "two_people.jpg", "--det-threshold", "0.7", "--nms-threshold", "0.6")[0] == 0
        assert len(written(out)) >= 2
        # with nothing suppressed, a face is detected many times, and all boxes lead to one alignment
        assert run(inputs / "astronaut.jpg", "--nms-threshold", "1", "--size", "32")[0] == 0
        assert [name for name in written(out) if name.startswith("astronaut_")] == ["astronaut_0.jpg"]

    def test_option_names_of_img2pose(self, tmp_path, inputs, capsys):
        status = main([
            "align", "--images_path", str(inputs), "--output_path", str(tmp_path / "o"), "--max_faces", "1",
            "--order_method", "confidence", "--face_size", "48", "--det_threshold", "0.7", "--nms_threshold", "0.6",
            "-m", "cpu",
        ])  # fmt: skip
        assert status == 0
        assert written(tmp_path / "o") == ["astronaut_0.jpg", "grace_hopper_0.jpg", "two_people_0.jpg"]
        assert cv2.imread(str(tmp_path / "o/astronaut_0.jpg")).shape == (48, 48, 3)


class TestPhotos:
    def test_photos_of_one_name(self, run, out, tmp_path, astronaut, two_people):
        for name, image in (("a/x.png", astronaut), ("b/x.png", two_people)):
            (tmp_path / name).parent.mkdir()
            cv2.imwrite(str(tmp_path / name), image)
        assert run(tmp_path / "a", tmp_path / "b/*.png")[0] == 0
        assert written(out) == ["x-2_0.jpg", "x-2_1.jpg", "x_0.jpg"]

    def test_no_face(self, run, out, tmp_path, inputs):
        cv2.imwrite(str(tmp_path / "grey.png"), np.full((120, 160, 3), 128, np.uint8))
        status, printed, err = run(tmp_path / "grey.png")
        assert (status, err, len(printed)) == (NO_FACE, [], 1)
        assert printed[0].startswith(f"{tmp_path / 'grey.png'}: no face (")
        assert written(out) == []
        status, printed, _ = run(tmp_path / "grey.png", inputs / "astronaut.jpg", "--json")
        assert status == 0
        assert written(out) == ["astronaut.json", "astronaut_0.jpg", "grey.json"]
        assert json.loads((out / "grey.json").read_text())["faces"] == []

    def test_each_bad_file_is_one_line(self, run, out, tmp_path, inputs):
        (tmp_path / "text.jpg").write_text("hello")
        (tmp_path / "empty.png").write_bytes(b"")
        status, printed, err = run(
            tmp_path / "text.jpg", inputs / "astronaut.jpg", tmp_path / "empty.png", tmp_path / "missing.jpg"
        )
        assert status == FAILED
        assert [line.split(": ")[2] for line in err] == [
            str(tmp_path / name) for name in ("text.jpg", "empty.png", "missing.jpg")
        ]
        assert written(out) == ["astronaut_0.jpg"]
        assert len(printed) == 3
        assert printed[-1].startswith("1 of 4 done, 3 failed; ")

    def test_an_empty_folder(self, run, out, tmp_path):
        (tmp_path / "empty").mkdir()
        status, printed, err = run(tmp_path / "empty")
        assert (status, printed, len(err)) == (FAILED, [], 1)
        assert written(out) == []

    def test_other_faces_are_cropped_if_one_fails(self, run, out, inputs, monkeypatch):
        def fails_once(image, face, size, template, seen=[]):  # noqa: B006 - counts the calls
            seen.append(face)
            if len(seen) == 1:
                raise ValueError("source: expected points that are apart")
            return align_face(image, face, size=size, template=template)

        monkeypatch.setattr(recognition, "align_face", fails_once)
        status, _, err = run(inputs / "two_people.jpg", "--json")
        assert status == FAILED
        assert err == [
            f"tddfa: error: {inputs / 'two_people.jpg'}: face 0: source: expected points that are apart"
        ]  # fmt: skip
        assert written(out) == ["two_people.json", "two_people_1.jpg"]
        content = json.loads((out / "two_people.json").read_text())
        assert [record["file"] for record in content["faces"]] == ["two_people_1.jpg"]


class TestSafety:
    @pytest.mark.parametrize(("name", "options"), [("q_1.jpg", []), ("Q_07.JPG", []), ("q_1.png", ["--format", "png"])])
    def test_no_crop_replaces_a_photo(self, tmp_path, inputs, capsys, name, options):
        photo = (inputs / "astronaut.jpg").read_bytes()
        for each in ("q.jpg", name):
            (tmp_path / each).write_bytes(photo)
        status = main(["align", str(tmp_path), "--out", str(tmp_path), "--device", "cpu", *options])
        assert status == FAILED
        err = capsys.readouterr().err.splitlines()
        assert len(err) == 1
        assert f"{name}: an output of this run could replace it" in err[0]
        assert written(tmp_path) == sorted(["q.jpg", name])
        assert (tmp_path / name).read_bytes() == photo

    @pytest.mark.parametrize("name", ["q_1.png", "other_1.jpg", "q_x.jpg", "q-1.jpg", "q_1_.jpg"])
    def test_other_names_are_allowed(self, tmp_path, inputs, name):
        for each in ("q.jpg", name):
            (tmp_path / each).write_bytes((inputs / "astronaut.jpg").read_bytes())
        assert main(["align", str(tmp_path), "--out", str(tmp_path), "--device", "cpu"]) == 0
        assert (tmp_path / "q_0.jpg").is_file()

    def test_the_json_replaces_no_input(self, tmp_path, inputs, capsys):
        (tmp_path / "q.jpg").write_bytes((inputs / "astronaut.jpg").read_bytes())
        (tmp_path / "q.json").write_text("mine")
        arguments = ["align", str(tmp_path / "q.jpg"), str(tmp_path / "q.json"), "--out", str(tmp_path), "--json"]
        assert main([*arguments, "--device", "cpu"]) == FAILED
        assert "q.json: an output of this run could replace it" in capsys.readouterr().err
        assert (tmp_path / "q.json").read_text() == "mine"

    def test_a_file_in_place_of_the_output_folder(self, run, out, inputs):
        out.parent.mkdir()
        out.write_text("in the way")
        status, printed, err = run(inputs / "astronaut.jpg")
        assert (status, printed, len(err)) == (FAILED, [], 1)
        assert err[0] == f"tddfa: error: --out: {out} is not a folder"

    def test_a_config_that_does_not_exist(self, run, out, inputs):
        status, printed, err = run(inputs / "astronaut.jpg", "-c", "nothing")
        assert (status, printed, len(err)) == (FAILED, [], 1)
        assert "nothing" in err[0]
        assert written(out) == []


class TestOptions:
    def test_both_ways_to_name_photos_count(self, capsys):
        assert main(["align", "a.jpg", "-f", "b.jpg", "--min_size", "400", "--max_size", "1400"]) == 1
        assert capsys.readouterr().err.splitlines() == [f"tddfa: error: {name}.jpg: no such file" for name in "ab"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["a.jpg", "--size", "16"], ("--size", "from 32 to 1024", "'16'")),
            (["a.jpg", "--face_size", "2048"], ("from 32 to 1024", "'2048'")),
            (["a.jpg", "--max-faces", "0"], ("--max-faces", "'0'")),
            (["a.jpg", "--order", "age"], ("--order", "'age'")),
            (["a.jpg", "--template", "ffhq"], ("--template", "'ffhq'")),
            (["a.jpg", "--det-threshold", "1.5"], ("--det-threshold", "from 0 to 1")),
            (["a.jpg", "--nms-threshold", "0"], ("--nms-threshold", "over 0 and up to 1", "'0'")),
            (["a.jpg", "--nms-threshold", "nan"], ("--nms-threshold", "'nan'")),
            (["a.jpg", "--format", "gif"], ("--format", "'gif'")),
            (["a.jpg", "--landmarks", "300w-lp"], ("tddfa align: error: unknown option --landmarks",)),
            (["a.jpg", "--front"], ("unknown option --front; did you mean --frontal?",)),
            (["-f", "a.jpg", "--sze", "224"], ("unknown option --sze; did you mean --size?",)),
        ],
    )
    def test_wrong_values_are_named(self, capsys, arguments, words):
        with pytest.raises(SystemExit) as caught:
            main(["align", *arguments])
        assert caught.value.code == 2
        printed = capsys.readouterr().err.splitlines()[-1]
        assert all(word in printed for word in words), printed

    def test_choices_of_the_parser_are_those_of_the_functions(self):
        """The parser has its own copy, so that ``tddfa --help`` does not load OpenCV."""
        parser = Parser()
        commands = parser.add_subparsers()
        cli_align.add_parser(commands)
        actions = {action.dest: action for action in commands.choices["align"]._actions}
        assert tuple(actions["order"].choices) == recognition.ORDERS
        assert tuple(actions["template"].choices) == recognition.TEMPLATES
        assert cli_align._SIZES == (recognition.MIN_CROP_SIZE, recognition.MAX_CROP_SIZE)


def test_pages(run, out, tmp_path, astronaut):
    photo = Image.fromarray(np.ascontiguousarray(astronaut[..., ::-1]))
    photo.save(tmp_path / "p.tif", save_all=True, append_images=[photo])
    status, printed, err = run(tmp_path / "p.tif", "--page", "all")
    assert (status, err) == (0, [])
    assert written(out) == ["p_page1_0.jpg", "p_page2_0.jpg"]
    assert [line.split(": ")[0] for line in printed[:-1:2]] == [f"{tmp_path}/p.tif, page {k}" for k in (1, 2)]
