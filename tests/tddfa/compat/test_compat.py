"""3DDFA_V2's interface and numbers: its crop, its formula, its shapes."""

import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml

from builders import make_face_model
from tddfa import Aligner, Decoder
from tddfa._shared.errors import ConfigError
from tddfa.compat import (
    TDDFA,
    FaceBoxes,
    calc_pose,
    cv_draw_landmark,
    depth,
    draw_landmarks,
    parameters,
    pncc,
    render,
    roi_box,
    ser_to_obj,
    ser_to_ply,
    uv_tex,
    viz_pose,
)
from tddfa.compat.bfm import read_pickled
from tddfa.compat.config import CROP

PHOTOS = ("JianzhuGuo", "trump_hillary", "emma")


def camera(yaw, pitch, roll, scale=5e-4):
    """The 12 numbers of a camera whose angles are these, by 3DDFA_V2's order: Rz(roll) Ry(-yaw) Rx(pitch)."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return np.column_stack([scale * about_z @ about_y @ about_x, [60, 60, -60]]).reshape(-1)


class TestPose:
    @pytest.mark.parametrize("angles", [(0, 0, 0), (30, -20, 10), (-60, 15, -40), (85, 3, 5), (-86, -70, 100)])
    def test_angles_of_a_rotation(self, angles):
        matrix, pose = calc_pose(camera(*angles))
        np.testing.assert_allclose(pose, angles, atol=1e-9)
        np.testing.assert_allclose(matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-12)
        np.testing.assert_array_equal(matrix[:, 3], [60, 60, -60])

    @pytest.mark.parametrize("side", [1, -1])
    def test_a_profile_snaps_to_90(self, side):
        _, pose = calc_pose(camera(90 * side, 25, 0))
        np.testing.assert_allclose(pose, (90 * side, 25, 0), atol=1e-9)
        assert calc_pose(camera(86.3 * side, 25, 4))[1][0] == pytest.approx(86.3 * side)
        yaw, pitch, roll = calc_pose(camera(86.5 * side, 25, 0))[1]
        assert (yaw, roll) == (90 * side, 0)
        assert pitch == pytest.approx(25, abs=0.1)

    def test_the_rows_need_not_be_at_right_angles(self):
        param = camera(20, 10, 5).reshape(3, 4)
        param[0, :3] *= 1.3
        param[1, 0] += 1e-4
        param[2] = 7  # the third row does not count
        _, pose = calc_pose(param.reshape(-1))
        first, second = (row / np.linalg.norm(row) for row in param[:2, :3])
        third = np.cross(first, second)
        yaw = np.arcsin(third[0])
        expected = [yaw, np.arctan2(third[1], third[2]), np.arctan2(second[0], first[0])]
        np.testing.assert_allclose(pose, np.degrees(expected), atol=1e-9)


@pytest.mark.upstream
@pytest.mark.usefixtures("fetched")
class TestReleased:
    def test_one_pass_at_one_resolution(self, upstream):
        """Faces of its configs are those of `FaceBoxes`, which is a single pass, to the bit."""
        detector = Aligner.load("mb05_120x120", device="cpu").detector
        find = detector.find
        assert (find.max_height, find.max_width, find.max_area, find.small_area) == (720, 1080, None, None)
        assert detector.tiles == "off"
        image = cv2.resize(cv2.imread(str(upstream / "examples/emma.jpg")), (3000, 2400))
        assert len(list(find.scales.views(image))) == 1
        found = detector(image)
        np.testing.assert_array_equal(np.column_stack([found.xyxy, found.scores]), FaceBoxes()(image))

    @pytest.mark.parametrize("name", PHOTOS)
    def test_landmarks_and_vertices_are_those_of_the_formula(self, name, upstream, reference, bases):
        image = cv2.imread(str(upstream / f"examples/{name}.jpg"))
        aligner = Aligner.load("mb05_120x120", device="cpu")
        faces = aligner(image)
        assert len(faces) == {"JianzhuGuo": 1, "trump_hillary": 2, "emma": 3}[name]
        tddfa = TDDFA()
        params, squares = tddfa(image, FaceBoxes()(image))
        sparse, dense = tddfa.recon_vers(params, squares), tddfa.recon_vers(params, squares, dense_flag=True)
        for k, face in enumerate(faces):
            square = reference.square_of_box(face.box)
            np.testing.assert_allclose(roi_box(face.roi), square, atol=1e-3)
            np.testing.assert_allclose(squares[k], square, atol=1e-3)
            np.testing.assert_allclose(params[k], parameters(face), rtol=1e-4, atol=1e-4)
            landmarks = reference.reconstruct(params[k], square, bases, bases["keypoints"])
            vertices = reference.reconstruct(params[k], square, bases)
            mesh = aligner.decoder.mesh(face)
            differences = [
                np.abs(face.landmarks[:, :2] - landmarks[:, :2]).max(),
                np.abs(mesh.vertices[:, :2] - vertices[:, :2]).max(),
                np.abs(np.ptp(mesh.vertices[:, 2]) - np.ptp(vertices[:, 2])),
                np.abs(sparse[k].T - landmarks + (0, 0, landmarks[:, 2].min())).max(),
                np.abs(dense[k].T - vertices + (0, 0, vertices[:, 2].min())).max(),
            ]
            print(f"\n{name}, face {k}: px from the formula", *(f"{d:.1e}" for d in differences))
            assert max(differences) < 0.01
            assert sparse[k].shape == (3, 68)
            assert dense[k].shape == (3, 38365)
            assert sparse[k].dtype == dense[k].dtype == np.float32
            assert sparse[k][2].min() == dense[k][2].min() == 0

    def test_the_crop_is_3ddfa_v2s(self, upstream, reference):
        """From the photo to the landmarks with nothing of ours but the test's own network."""
        image = cv2.imread(str(upstream / "examples/trump_hillary.jpg"))
        seen = []
        aligner = Aligner.load("mb05_120x120", device="cpu")
        run = aligner.regressor
        aligner.regressor = lambda crops: (seen.append(crops.copy()), run(crops))[1]
        boxes = [[100, 50, 300, 290], [-80.3, 20.2, 150.9, 260.4], [1400.5, 500.5, 1600.5, 720.5]]
        for face, crop, box in zip(aligner(image, boxes=boxes), seen[0], boxes, strict=True):
            np.testing.assert_array_equal(crop, reference.crop_at(image, reference.square_of_box(box)))
            np.testing.assert_allclose(roi_box(face.roi), reference.square_of_box(box), atol=1e-4)

    def test_landmarks_give_the_crop_of_the_next_frame(self, upstream, reference):
        image = cv2.imread(str(upstream / "examples/JianzhuGuo.jpg"))
        tddfa = TDDFA()
        params, squares = tddfa(image, FaceBoxes()(image))
        points = tddfa.recon_vers(params, squares, dense_flag=True)
        _, again = tddfa(image, points, crop_policy="landmark")
        np.testing.assert_allclose(again[0], reference.square_of_landmarks(points[0][:2].T), atol=1e-3)

    def test_a_script_of_its_readme_runs_with_the_imports_changed(self, upstream, monkeypatch, tmp_path):
        monkeypatch.chdir(upstream)
        with open("configs/mb05_120x120.yml") as file:  # noqa: PTH123 - as people write it
            cfg = yaml.load(file, Loader=yaml.SafeLoader)
        gpu_mode = False
        face_boxes = FaceBoxes()
        tddfa = TDDFA(gpu_mode=gpu_mode, **cfg)
        img = cv2.imread("examples/emma.jpg")
        boxes = face_boxes(img)
        assert [len(box) for box in boxes] == [5, 5, 5]
        param_lst, roi_box_lst = tddfa(img, boxes)
        assert [param.shape for param in param_lst] == [(62,)] * 3
        assert [len(roi) for roi in roi_box_lst] == [4] * 3
        for dense_flag, count in ((False, 68), (True, 38365)):
            ver_lst = tddfa.recon_vers(param_lst, roi_box_lst, dense_flag=dense_flag)
            assert [ver.shape for ver in ver_lst] == [(3, count)] * 3
        assert tddfa.tri.shape == (76073, 3)
        for picture in (
            draw_landmarks(img, tddfa.recon_vers(param_lst, roi_box_lst), show_flag=False),
            draw_landmarks(img, ver_lst, dense_flag=True),
            render(img, ver_lst, tddfa.tri, alpha=0.6, show_flag=False, wfp=tmp_path / "3d.jpg"),
            depth(img, ver_lst, tddfa.tri, with_bg_flag=True),
            pncc(img, ver_lst, tddfa.tri, with_bg_flag=False),
            viz_pose(img, param_lst, tddfa.recon_vers(param_lst, roi_box_lst)),
        ):
            assert picture.shape == img.shape
            changed = (picture != img).any(axis=2)
            for left, top, right, bottom, _ in boxes:
                assert changed[int(top) : int(bottom), int(left) : int(right)].mean() > 0.002
        assert uv_tex(img, ver_lst, tddfa.tri).shape == (256, 768, 3)
        assert uv_tex(img, ver_lst, tddfa.tri, 64, 64).shape == (64, 192, 3)
        with pytest.raises(ValueError, match="uv_h, uv_w, uv_c: expected a square"):
            uv_tex(img, ver_lst, tddfa.tri, uv_w=64)
        assert cv2.imread(str(tmp_path / "3d.jpg")).shape == img.shape
        ser_to_ply(ver_lst, tddfa.tri, height=img.shape[0], wfp=tmp_path / "a.ply")
        ser_to_obj(img, ver_lst, tddfa.tri, height=img.shape[0], wfp=tmp_path / "a.obj")
        header = (tmp_path / "a.ply").read_text()[:300]
        assert "format ascii 1.0" in header
        assert f"element vertex {3 * 38365}" in header
        assert (tmp_path / "a.obj").read_text().count("\nv ") >= 3 * 38365 - 1
        # all three look to the left of the image, which 3DDFA_V2 counts as more than 0
        assert all(25 < calc_pose(param)[1][0] < 65 for param in param_lst)

    def test_depth_is_black_at_the_farthest_vertex_and_white_at_the_nearest(self):
        # a square from x = 20 to 80 px whose z is x, and a far vertex (z = -40) that no triangle has
        ver = np.array([[20, 80, 80, 20, 50], [20, 20, 80, 80, 50], [20, 80, 80, 20, -40]], dtype=np.float32)
        picture = depth(np.zeros((100, 100, 3), np.uint8), [ver], np.array([[0, 1, 2], [0, 2, 3]]), with_bg_flag=False)
        x = np.arange(25, 76)
        np.testing.assert_allclose(picture[50, 25:76, 0], (x + 40) / 120 * 255, atol=1)

    def test_its_triangles_and_keypoints(self, bases, upstream):
        tddfa = TDDFA()
        np.testing.assert_array_equal(tddfa.keypoints, bases["keypoints"])
        np.testing.assert_array_equal(tddfa.tri, read_pickled(upstream / "configs/tri.pkl").T)

    def test_wrong_arguments_give_an_error(self, upstream):
        with pytest.raises(ConfigError, match=r"^TDDFA\(\*\*cfg\): unknown key 'widen'"):
            TDDFA(widen=1)
        cfg = yaml.safe_load((upstream / "configs/mb05_120x120.yml").read_text())
        for key, value, message in (
            ("checkpoint_fp", "nope.pth", r"nope\.pth: no such file"), ("widen_factor", "x", "expected a number"),
        ):  # fmt: skip
            with pytest.raises(ConfigError, match=rf"^TDDFA\(\*\*cfg\): .*{message}"):
                TDDFA(**{**cfg, key: value})
        image = np.zeros((50, 50, 3), np.uint8)
        with pytest.raises(ValueError, match="crop_policy: expected box or landmark"):
            TDDFA()(image, [[0, 0, 9, 9]], crop_policy="points")
        assert TDDFA()(image, []) == ([], [])

    def test_exact_crop_differs(self, upstream):
        image = cv2.imread(os.fspath(upstream / "examples/JianzhuGuo.jpg"))
        near, exact = (Aligner.load("mb05_120x120", device="cpu", exact_crop=e)(image)[0] for e in (False, True))
        difference = exact.landmarks[:, :2] - near.landmarks[:, :2]
        assert 0.2 < np.abs(difference).mean() < 2
        # without the rounding, the first px of the crop lies half a px of the crop inside of its edge
        assert difference[:, 0].mean() > 0


class TestArguments:
    """What 3DDFA_V2's scripts pass, in any of its ways."""

    def test_landmarks_of_one_face_or_of_several(self, aligner, astronaut, tmp_path):
        (face,) = aligner(astronaut)
        points = face.landmarks.T
        expected = draw_landmarks(astronaut, [points])
        assert (expected != astronaut).any()
        for given in (points, (points,), np.stack([points])):
            np.testing.assert_array_equal(draw_landmarks(astronaut, given), expected)
        np.testing.assert_array_equal(draw_landmarks(astronaut, points, "simple", tmp_path / "a.png"), expected)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), expected)
        dense = aligner.decoder.mesh(face).vertices.T
        one, listed = (draw_landmarks(astronaut, given, dense_flag=True, color="w") for given in (dense, [dense]))
        np.testing.assert_array_equal(one, listed)

    def test_dots_and_a_box(self):
        image = np.zeros((100, 120, 3), np.uint8)
        drawn = cv_draw_landmark(image, np.array([[20.4, 1e9], [30.6, 50]]), box=[10, 15, 90, 80, 0.9], size=2)
        assert not image.any()
        green, blue = drawn[..., 1] > 0, drawn[..., 0] > 0
        np.testing.assert_allclose(np.argwhere(green).mean(axis=0), (31, 20))
        assert (np.argwhere(blue).min(axis=0).tolist(), np.argwhere(blue).max(axis=0).tolist()) == ([15, 10], [80, 90])
        assert cv_draw_landmark(image, np.zeros((3, 2)), color=(0, 0, 7)).max() == 7
        dots, rings = (cv_draw_landmark(image, np.full((2, count), 50), size=3) for count in (106, 107))
        assert dots[50, 50, 1] == 255
        assert (rings[50, 50, 1], rings[50, 53, 1]) == (0, 255)


@pytest.mark.parametrize("exact", [False, True])
def test_points_are_where_the_aligner_has_them(tiny_bases, exact):
    """With any network, by 3DDFA_V2's crop and by the exact one."""
    vertices = tiny_bases["u"].reshape(-1, 3)[:68] / 1e5
    basis = np.random.default_rng(0).normal(0, 0.01, (50, 68, 3)).astype(np.float32)
    points = np.arange(68, dtype=np.int32)
    model = make_face_model(
        mean=vertices.astype(np.float32), basis=basis, shape_count=40, part=np.zeros(68, np.uint8),
        landmark_triangles=np.stack([points] * 3, axis=1), expression_names=tuple(map(str, range(10))),
        expression_range=None,
    )  # fmt: skip

    def network(crops):
        camera = np.tile(np.float32([[30, 2, 0, 55], [1, 28, 3, 64], [0, 0, 29, 0]]), (len(crops), 1, 1))
        return {
            "camera": camera, "shape": np.ones((len(crops), 40), np.float32),
            "expression": np.ones((len(crops), 10), np.float32),
        }  # fmt: skip

    rule = replace(CROP, rounded=not exact)
    tddfa = TDDFA.__new__(TDDFA)
    tddfa.aligner, tddfa.size = Aligner(network, Decoder(model, rule)), CROP.size
    image, box = np.zeros((700, 700, 3), np.uint8), [200.0, 210.0, 500.5, 520.0]
    (face,) = tddfa.aligner(image, boxes=[box])
    found = tddfa.recon_vers(*tddfa(image, [box], timer_flag=True))[0]
    np.testing.assert_allclose(found[:2], face.landmarks[:, :2].T, atol=1e-3)
    np.testing.assert_allclose(np.ptp(found[2]), np.ptp(face.landmarks[:, 2]), rtol=1e-5)


def test_without_fetched_files_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="tddfa fetch 3ddfa_v2"):
        FaceBoxes()
    with pytest.raises(ValueError, match="tddfa fetch 3ddfa_v2"):
        TDDFA()
