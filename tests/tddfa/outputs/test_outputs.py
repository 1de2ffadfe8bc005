import copy
import json
import re
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from builders import without_volumes
from tddfa import Decoder, draw
from tddfa.face_crops.aligned import five_points
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.outputs import DEPTH_STEPS_PER_PX, KINDS, Options, Outputs, image_kinds
from tddfa.surface.texture import SEEN

EULER = (("y", "yaw", 1), ("x", "pitch", -1), ("z", "roll", -1))
MADE, DRAWN = without_volumes(KINDS), without_volumes(image_kinds())
NINE = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "ply", "obj")


@pytest.fixture(scope="module")
def faces(aligner, two_people):
    return aligner(two_people)


@pytest.fixture
def outputs(aligner, two_people, faces):
    def make(**options):
        return Outputs(two_people, faces, aligner, Options(**options))

    return make


def test_kinds_are_the_nine_of_3ddfa_v2_and_glb_and_6dof_and_box_and_volume():
    assert set(KINDS) == {*NINE, "glb", "6dof", "box", "volume"}
    assert set(KINDS) - set(image_kinds()) == {"ply", "obj", "glb"}
    assert all(name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_images_are_written_as_they_are_drawn(outputs, tmp_path, suffix):
    made = outputs(suffix=suffix)
    for kind in DRAWN:
        written = made.save(kind, tmp_path / "a photo")
        assert written == [tmp_path / f"a photo_{kind}{suffix}"]
        drawn, read = made.draw(kind), cv2.imread(str(written[0]))
        assert read.shape == drawn.shape
        assert np.abs(read.astype(int) - drawn).mean() <= {".png": 0, ".jpg": 3.5, ".webp": 4}[suffix]
    assert len(list(tmp_path.iterdir())) == len(DRAWN)


def test_images_are_those_of_draw(outputs, aligner, two_people, faces):
    made = outputs(alpha=0.3, background="black", pose_style="axes")
    meshes = [aligner.decoder.mesh(face) for face in faces]
    expected = {
        "2d_sparse": draw.landmarks(
            two_people, [replace(face, visible=aligner.decoder.visible(face)) for face in faces]
        ),
        "box": draw.boxes(two_people, made.detections, labels=[f"{k}:  {f.score:.2f}" for k, f in enumerate(faces)]),
        "2d_dense": draw.points(two_people, meshes),
        "3d": draw.mesh(two_people, meshes, alpha=0.3, background="black"),
        "depth": draw.depth(two_people, meshes, background="black"),
        "pncc": draw.pncc(two_people, meshes, aligner.face_model.normalized_coordinates, background="black"),
        "pose": draw.pose(two_people, faces, style="axes", names=["0", "1"]),
        "6dof": draw.six_dof(
            two_people,
            faces,
            meshes,
            [aligner.decoder.six_dof(f) for f in faces],
            alpha=0.3,
            background="black",
            names=["0", "1"],
        ),
    }
    for kind, image in expected.items():
        np.testing.assert_array_equal(made.draw(kind), image, err_msg=kind)


@pytest.mark.parametrize("kind", ["3d", "depth", "pncc", "6dof"])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_transparent_image_looks_the_same_over_any_background(outputs, tmp_path, kind, suffix):
    made = outputs(suffix=suffix, transparent=True)
    drawn = made.draw(kind)
    opacity = drawn[..., 3:] / 255
    # lines over lines are rounded several times: up to 4 of 255
    assert 0.01 < (opacity == 1).mean() < 0.3
    assert (opacity == 0).mean() > 0.5
    for background, value in (("black", 0), ("white", 255)):
        over = drawn[..., :3] * opacity + value * (1 - opacity)
        np.testing.assert_allclose(over, outputs(background=background).draw(kind), atol=4.1)
    (path,) = made.save(kind, tmp_path / "x")
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == drawn.shape


def test_transparent_images_have_other_kinds_as_before_and_need_a_format_with_alpha(outputs):
    np.testing.assert_array_equal(outputs(suffix=".png", transparent=True).draw("pose"), outputs().draw("pose"))
    with pytest.raises(ValueError, match=r"suffix: expected \.png or \.webp with transparent, got \.jpg"):
        outputs(transparent=True)


def test_faces_are_named_by_track_or_number(outputs, faces):
    made = outputs()
    assert made.names == ["0", "1"]
    assert replace(made, faces=faces[:1]).names == [""]
    assert replace(made, faces=[replace(face, track_id=7 + k) for k, face in enumerate(faces)]).names == ["7", "8"]


@pytest.mark.parametrize("size", [64, 256])
def test_texture_and_mask(outputs, tmp_path, size):
    made = outputs(suffix=".png", uv_size=size, uv_mask=True)
    texture, mask = made.save("uv_tex", tmp_path / "x")
    assert (texture.name, mask.name) == ("x_uv_tex.png", "x_uv_tex_mask.png")
    assert cv2.imread(str(texture)).shape == (size, 2 * size, 3)
    written = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, np.hstack([texture.mask for texture in made.textures]))
    assert (written[:, :size] == SEEN).mean() > 0.1
    assert (written[:, size:] == SEEN).mean() > 0.1


def test_landmarks_that_an_aligner_has_tested_are_not_tested_again(aligner, two_people, faces):
    hidden = replace(faces[0], visible=np.arange(68) > 8)
    made = Outputs(two_people, [hidden, faces[1]], aligner, Options())
    np.testing.assert_array_equal(made.faces_with_visibility[0].visible, hidden.visible)
    np.testing.assert_array_equal(made.faces_with_visibility[1].visible, aligner.decoder.visible(faces[1]))
    assert Outputs(two_people, [hidden], aligner).faces_with_visibility == [hidden]


def test_raw_depth(outputs, tmp_path, two_people):
    made = outputs(suffix=".png", raw_depth="npy")
    expected = draw.depth_px(two_people, made.meshes)
    _, path = made.save("depth", tmp_path / "x")
    assert path.name == "x_depth.npy"
    numbers = np.load(path, allow_pickle=False)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, expected)

    _, path = outputs(raw_depth="png").save("depth", tmp_path / "x")
    assert path.name == "x_depth_raw.png"
    steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert steps.dtype == np.uint16
    np.testing.assert_array_equal(steps > 0, np.isfinite(expected))
    px = (steps.astype(float) - 1) / DEPTH_STEPS_PER_PX + np.nanmin(expected)
    covered = steps > 0
    np.testing.assert_allclose(px[covered], expected[covered], atol=0.51 / DEPTH_STEPS_PER_PX)
    assert steps[covered].min() == 1


@pytest.mark.parametrize("name", ["my.photo", "a.b.c", ".hidden", "x.", "naïve 日本", "x.jpg"])
def test_dots_and_non_ascii_letters_in_names(outputs, tmp_path, name):
    made = outputs(raw_depth="npy", uv_mask=True, uv_size=64)
    written = [path for kind in ("depth", "uv_tex", "ply") for path in made.save(kind, tmp_path / name)]
    written.append(made.save_json(tmp_path / name, "x"))
    assert [path.name for path in written] == [
        f"{name}_depth.jpg", f"{name}_depth.npy", f"{name}_uv_tex.jpg", f"{name}_uv_tex_mask.png",
        f"{name}.ply", f"{name}.json",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)


class TestMeshes:
    @pytest.mark.parametrize("ascii", [False, True])
    @pytest.mark.parametrize("vertex_colors", [False, True])
    def test_ply(self, outputs, tmp_path, aligner, two_people, ascii, vertex_colors):
        made = outputs(ascii=ascii, vertex_colors=vertex_colors, uv_size=128)
        (path,) = made.save("ply", tmp_path / "x")
        assert path.name == "x.ply"
        assert (b"format ascii" in path.read_bytes()[:40]) == ascii
        loaded = trimesh.load(path, process=False)
        n = len(aligner.face_model.mean)
        assert loaded.vertices.shape == (2 * n, 3)
        assert len(loaded.faces) == 2 * len(aligner.face_model.triangles)
        expected = np.concatenate([mesh.vertices for mesh in made.meshes])
        np.testing.assert_allclose(loaded.vertices * (1, -1, 1) + (0, two_people.shape[0], 0), expected, atol=2e-3)
        assert (b"property uchar red" in path.read_bytes()[:400]) == vertex_colors
        if vertex_colors:
            tip = aligner.face_model.landmark_triangles[30, 0]
            x, y = np.rint(made.meshes[0].vertices[tip, :2]).astype(int)
            rgb = two_people[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0)[::-1]
            np.testing.assert_allclose(loaded.visual.vertex_colors[tip][:3], rgb, atol=25)

    @pytest.mark.parametrize("vertex_colors", [False, True])
    def test_obj(self, outputs, tmp_path, aligner, vertex_colors):
        made = outputs(vertex_colors=vertex_colors, uv_size=128)
        written = made.save("obj", tmp_path / "x")
        assert [path.name for path in written] == ["x.obj", "x.mtl", "x_obj_1.png", "x_obj_2.png"]
        lines = written[0].read_text().splitlines()
        vertices = [line.split() for line in lines if line.startswith("v ")]
        assert len(vertices) == 2 * len(aligner.face_model.mean)
        assert {len(line) for line in vertices} == {7 if vertex_colors else 4}
        assert sum(line.startswith("f ") for line in lines) == 2 * len(aligner.face_model.triangles)
        for path, texture in zip(written[2:], made.textures, strict=True):
            np.testing.assert_array_equal(cv2.imread(str(path)), texture.image)

    def test_glb(self, outputs, tmp_path, aligner):
        (path,) = outputs(uv_size=128).save("glb", tmp_path / "x")
        assert path.name == "x.glb"
        scene = trimesh.load(path, process=False)
        assert len(scene.geometry) == 2
        for geometry in scene.geometry.values():
            assert len(geometry.faces) == len(aligner.face_model.triangles)


class TestJson:
    def test_content(self, outputs, tmp_path, aligner, faces, two_people):
        path = outputs().save_json(tmp_path / "x", "people.jpg")
        assert path == tmp_path / "x.json"
        content = json.loads(path.read_text())
        assert (content["image"], content["width"], content["height"]) == ("people.jpg", *two_people.shape[1::-1])
        assert len(content["faces"]) == 2
        for record, face in zip(content["faces"], faces, strict=True):
            np.testing.assert_allclose(record["box"], face.box, atol=0.006)
            np.testing.assert_allclose(record["landmarks"], face.landmarks, atol=6e-4)
            np.testing.assert_allclose(record["camera"], face.camera.matrix, atol=6e-6)
            np.testing.assert_allclose(record["rotation"], face.camera.rotation, atol=6e-7)
            np.testing.assert_allclose(record["shape"], face.params.shape, atol=6e-6)
            assert record["score"] == pytest.approx(face.score, abs=6e-6)
            assert record["scale"] == pytest.approx(face.camera.scale, abs=6e-6)
            assert record["pose"] == pytest.approx(face.camera.euler_degrees()._asdict(), abs=6e-4)
            assert record["roi"] == pytest.approx(vars(face.roi), abs=6e-4)
            assert list(record["expression"]) == list(aligner.face_model.expression_names)
            assert record["expression"] == pytest.approx(aligner.decoder.expression(face), abs=6e-5)
            assert all(0 <= weight <= 1 for weight in record["expression"].values())
            assert record["track_id"] is None
            assert record["visible"] == aligner.decoder.visible(face).tolist()
            w, x, y, z = record["quaternion"]["values"]
            assert record["quaternion"]["order"] == "wxyz"
            np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), record["rotation"], atol=3e-6)
            assert record["pose_order"] == "rotation = Ry(yaw) @ Rx(-pitch) @ Rz(-roll), degrees"
            # and that is what the angles make
            turns = [(axis, np.radians(record["pose"][name]) * sign) for axis, name, sign in EULER]
            made = np.linalg.multi_dot([Rotation.from_euler(axis, turn).as_matrix() for axis, turn in turns])
            np.testing.assert_allclose(made, record["rotation"], atol=2e-5)

    @pytest.mark.parametrize(
        "camera", [None, Intrinsics([[900, 0, 470], [0, 910, 250], [0, 0, 1]], (-0.1, 0.01, 0, 0))]
    )
    def test_6dof(self, outputs, tmp_path, aligner, faces, two_people, camera):
        content = json.loads(outputs(intrinsics=camera).save_json(tmp_path / "x", "x").read_text())
        used = camera or Intrinsics.assumed(two_people.shape[:2])
        for written, face in zip(content["faces"], faces, strict=True):
            record, pose = written["six_dof"], aligner.decoder.six_dof(face, used)
            np.testing.assert_allclose(record["rotation"], pose.rotation, atol=6e-7)
            np.testing.assert_allclose(
                Rotation.from_rotvec(record["rotation_vector"]).as_matrix(), pose.rotation, atol=3e-6
            )
            theirs = Rotation.from_rotvec(record["img2pose_vector"]).as_matrix() @ np.diag([1, -1, -1])
            np.testing.assert_allclose(theirs, pose.rotation, atol=3e-6)
            w, x, y, z = record["quaternion"]["values"]
            np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), pose.rotation, atol=3e-6)
            angles = record["euler"]
            assert angles.pop("order") == "rotation = diag(1, -1, -1) @ Ry(yaw) @ Rx(-pitch) @ Rz(-roll), degrees"
            assert angles == pytest.approx(pose.euler_degrees()._asdict(), abs=6e-4)
            np.testing.assert_allclose(record["translation"], pose.translation, atol=6e-5)
            assert record["distance"] == pytest.approx(np.linalg.norm(record["translation"]), abs=1e-3)
            assert record["unit"] == "cm"
            assert record["reprojection_error_px"] == pytest.approx(pose.error, abs=6e-5)
            assert record["intrinsics"]["assumed"] == (camera is None)
            np.testing.assert_allclose(record["intrinsics"]["matrix"], used.matrix)
            np.testing.assert_allclose(record["intrinsics"]["distortion"], used.distortion)
            # OpenCV alone projects the face by these numbers
            seen, _ = cv2.projectPoints(
                face.model_landmarks, np.array(record["rotation_vector"]), np.array(record["translation"]),
                used.matrix, used.distortion,
            )  # fmt: skip
            assert np.abs(seen[:, 0] - face.landmarks[:, :2]).mean() < 3
            left, top, right, bottom = record["box"]
            x, y = face.landmarks[:, :2].T
            assert left < x.min() < x.max() < right
            assert top < y.min() < y.max() < bottom

    @pytest.mark.parametrize(("unit", "in_cm"), [("um", 1e-4), ("mm", 0.1), ("cm", 1), ("m", 100), ("", None)])
    def test_translations_are_in_cm_where_the_models_unit_is_a_length(self, aligner, faces, unit, in_cm):
        other = copy.copy(aligner)
        other.decoder = Decoder(replace(aligner.face_model, unit=unit), aligner.crop)
        record, pose = faces[0].to_dict(other.decoder)["six_dof"], aligner.decoder.six_dof(faces[0])
        assert record["unit"] == ("cm" if in_cm else unit)
        np.testing.assert_allclose(record["translation"], pose.translation * (in_cm or 1), atol=6e-5)
        assert record["distance"] == pytest.approx(pose.distance * (in_cm or 1), abs=6e-5)

    def test_the_roi_is_rounded(self, aligner, faces):
        for face in faces:
            for name, value in face.to_dict(aligner.decoder)["roi"].items():
                assert value == round(getattr(face.roi, name), 3)

    def test_a_face_without_a_pose_before_the_camera(self, outputs, tmp_path, two_people):
        camera = Intrinsics.from_field_of_view(179, two_people.shape[:2])
        made = outputs(intrinsics=camera)
        assert made.poses == [None, None]
        content = json.loads(made.save_json(tmp_path / "x", "x").read_text())
        assert [face["six_dof"] for face in content["faces"]] == [None, None]
        assert all(len(face["visible"]) == 68 for face in content["faces"])
        np.testing.assert_array_equal(made.draw("6dof"), two_people)

    def test_landmarks_follow_from_camera_shape_and_expression(self, outputs, tmp_path, aligner):
        content = json.loads(outputs().save_json(tmp_path / "x", "x").read_text())
        model = aligner.face_model
        for record in content["faces"]:
            points = model.landmarks(np.float32(record["shape"]), np.float32(list(record["expression"].values())))
            camera = np.array(record["camera"])
            np.testing.assert_allclose(points @ camera[:, :3].T + camera[:, 3], record["landmarks"], atol=0.75)

    def test_no_face(self, aligner, tmp_path):
        made = Outputs(np.zeros((30, 40, 3), np.uint8), [], aligner)
        content = json.loads(made.save_json(tmp_path / "x", "empty.png").read_text())
        assert content == {
            "schema": 1,
            "image": "empty.png",
            "width": 40,
            "height": 30,
            "precision": "float",
            "faces": [],
        }

    def test_one_face_in_plain_types(self, aligner, faces):
        record = faces[0].to_dict(aligner.decoder)
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["six_dof"]["intrinsics"]["assumed"] is True

    def test_one_face_with_what_costs_little(self, aligner, faces, monkeypatch):
        full = faces[0].to_dict(aligner.decoder)
        monkeypatch.setattr(aligner.decoder, "mesh", None)  # no dense surface
        monkeypatch.setattr(aligner.decoder, "six_dof", None)
        record = faces[0].to_dict(aligner.decoder, dense=False)
        assert record == {**full, "visible": None, "six_dof": None}
        seen = replace(faces[0], visible=np.ones(68, bool)).to_dict(aligner.decoder, dense=False)
        assert seen["visible"] == [True] * 68

    def test_a_face_of_an_image_of_unknown_size(self, aligner, faces):
        face = replace(faces[0], image_size=None)
        record = face.to_dict(aligner.decoder)
        assert record["six_dof"] is None
        given = face.to_dict(aligner.decoder, Intrinsics.centered(800, (512, 900)))["six_dof"]
        assert given["box"] is None
        assert given["intrinsics"]["assumed"] is False


def test_inputs_are_unchanged_and_nothing_is_computed_twice(aligner, two_people, faces, tmp_path, monkeypatch):
    calls = []
    mesh = aligner.decoder.mesh
    monkeypatch.setattr(aligner.decoder, "mesh", lambda *arguments: calls.append(1) or mesh(*arguments))
    made = Outputs(two_people, faces, aligner, Options(uv_size=64, vertex_colors=True))  # the image is read-only
    before = [face.landmarks.copy() for face in faces], [m.vertices.copy() for m in made.meshes]
    for kind in MADE:
        made.save(kind, tmp_path / "x")
    assert len(calls) == 2
    for kept, face, vertices, m in zip(before[0], faces, before[1], made.meshes, strict=True):
        np.testing.assert_array_equal(face.landmarks, kept)
        np.testing.assert_array_equal(m.vertices, vertices)


@pytest.mark.parametrize("count", [0, 1])
def test_unknown_kinds_are_named(aligner, two_people, faces, tmp_path, count):
    made = Outputs(two_people, faces[:count], aligner)
    with pytest.raises(ValueError, match=r"kind: expected one of 2d_sparse, .*, glb, got '4d'"):
        made.save("4d", tmp_path / "x")
    with pytest.raises(ValueError, match=r"kind: expected one of 2d_sparse, .*, box, got 'ply'"):
        made.draw("ply")


class TestTable:
    """What a row claims is true."""

    OTHER = {
        "background": "black", "alpha": 0.3, "pose_style": "axes", "uv_size": 64, "uv_mask": True, "raw_depth": "png",
        "ascii": True, "vertex_colors": True, "space": "head", "intrinsics": Intrinsics.centered(700, (512, 948)),
        "style": "classic", "ears": False, "transparent": True,
    }  # fmt: skip

    def written(self, made, kind, folder):
        return {path.name: path.read_bytes() for path in made.save(kind, folder / "x")}

    @pytest.mark.parametrize("kind", MADE)
    def test_exactly_its_options_have_an_effect(self, outputs, tmp_path, kind):
        assert set(KINDS[kind].options) <= {field.name for field in fields(Options)}
        assert set(self.OTHER) == {field.name for field in fields(Options)} - {"suffix", "kind_in_mesh_names"}
        for option, value in self.OTHER.items():
            # the size of the texture reaches a .ply by its colours
            base = {"suffix": ".png", "uv_size": 96, "vertex_colors": kind == "ply" and option == "uv_size"}
            value = "image" if (kind, option) == ("glb", "space") else value
            plain = self.written(outputs(**base), kind, tmp_path / "plain")
            changed = self.written(outputs(**{**base, option: value}), kind, tmp_path / "changed")
            assert (plain != changed) == (option in KINDS[kind].options), option

    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize(
        "options", [{}, {"uv_mask": True, "raw_depth": "png"}, {"suffix": ".webp", "raw_depth": "npy"}]
    )
    def test_every_file_has_one_of_its_endings(self, outputs, tmp_path, kind, options):
        made = outputs(uv_size=64, **options)
        endings = KINDS[kind].endings(made.options)
        names = [path.name for path in made.save(kind, tmp_path / "a.b")]
        assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
        for name in names:
            assert any(re.fullmatch(rf"a\.b{ending}", name) for ending in endings), name
        assert all(any(re.fullmatch(rf"a\.b{ending}", name) for name in names) for ending in endings)

    @pytest.mark.parametrize("kind", DRAWN)
    def test_what_is_drawn_over_the_image_has_its_size(self, outputs, kind):
        made = outputs(uv_size=64)
        assert (made.draw(kind).shape == made.image.shape) == image_kinds()[kind].over_image

    @pytest.mark.parametrize("kind", KINDS)
    def test_summaries_have_a_line_per_face(self, outputs, kind):
        summary = KINDS[kind].summary
        if summary is not None:
            assert len(summary(outputs())) == 2


class TestBoxes:
    def test_points_are_the_detector_s_or_those_of_the_landmarks(self, outputs, faces):
        own = replace(outputs(), faces=[replace(face, detected_points=None) for face in faces]).detections
        np.testing.assert_array_equal(own.xyxy, [face.box for face in faces])
        np.testing.assert_allclose(own.scores, [face.score for face in faces])
        np.testing.assert_allclose(own.points, [five_points(face) for face in faces], rtol=1e-5)
        five = np.float32([[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]])
        first = replace(faces[0], detected_points=five)
        mixed = replace(outputs(), faces=[first, faces[1]]).detections
        np.testing.assert_array_equal(mixed.points[0], five)
        np.testing.assert_array_equal(mixed.points[1], faces[1].detected_points)

    def test_the_summary_has_the_numbers(self, outputs, faces):
        lines = KINDS["box"].summary(outputs())
        assert len(lines) == 2
        for line, face in zip(lines, faces, strict=True):
            assert line == f"{' '.join(f'{edge:.0f}' for edge in face.box)}, score {face.score:.2f}"

    def test_the_id_of_a_track_is_written(self, outputs, faces):
        tracked = replace(outputs(), faces=[replace(face, track_id=7) for face in faces])
        assert (tracked.draw("box") != outputs().draw("box")).any()

    def test_no_face(self, outputs, two_people):
        empty = replace(outputs(), faces=[])
        assert empty.detections.points.shape == (0, 5, 2)
        np.testing.assert_array_equal(empty.draw("box"), two_people)


@pytest.mark.parametrize(
    "options", [{"raw_depth": "NPY"}, {"raw_depth": True}, {"space": "heads"}, {"style": "oil"}, {"background": None}]
)
def test_words_of_options_are_checked(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}: expected '"):
        Options(**options)
