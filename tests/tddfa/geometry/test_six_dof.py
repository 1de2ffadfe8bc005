"""Heads before a perspective camera, at known positions and rotations."""

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from builders import make_face
from Sim3DR import interpolate, rasterize, shade, vertex_normals
from tddfa import Camera
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.rotation import quaternion_from_rotation, rotation_from_euler
from tddfa.geometry.six_dof import SixDof, from_image_points, from_weak_perspective
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import LIGHT, Head

SIZE = (720, 1280)
CAMERA = Intrinsics.centered(1000, SIZE)
BENT = Intrinsics(CAMERA.matrix, (-0.2, 0.05, 0.001, 0.002, 0.0))
POSES = [(0, 0, 0), (30, 0, 0), (60, 10, 0), (-80, 0, 20), (89, 0, 0), (20, -25, 40), (10, 70, 100), (0, 0, 175)]
# offsets of the head's middle from the camera's axis, fractions of the distance
PLACES = [(0, 0), (0.25, 0.1), (-0.5, 0.3)]
DISTANCES = [30, 300]  # cm


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def head(model):
    """Points all over the head's surface, cm."""
    return model.mean[::8].astype(np.float64)


def facing(yaw, pitch, roll):
    """The rotation to OpenCV's camera: a head at 0, 0, 0 passes against its z, upright against its y."""
    return np.diag([1.0, -1.0, -1.0]) @ rotation_from_euler(yaw, pitch, roll)


def photographed(points, rotation, translation, camera=CAMERA):
    """Projection of points, px, by the textbook's formula."""
    x, y, z = rotation @ points.T + np.reshape(translation, (3, 1))
    assert z.min() > 0
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = (*camera.distortion, 0, 0, 0, 0, 0)[:5]
    r = x * x + y * y
    radial = 1 + k1 * r + k2 * r**2 + k3 * r**3
    bent = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x), y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y
    (fx, _, cx), (_, fy, cy), _ = camera.matrix
    return np.stack([fx * bent[0] + cx, fy * bent[1] + cy], axis=1)


def weak_perspective(points, seen, rotation):
    """The best weak-perspective camera matrix (3, 4) by a general solver, from a rotation that is only near."""
    start = cv2.Rodrigues(np.diag([1.0, -1.0, -1.0]) @ rotation)[0].ravel() + 0.1
    scale = np.linalg.norm(seen - seen.mean(axis=0)) / np.linalg.norm(points - points.mean(axis=0))

    def linear(v):
        return np.exp(v[3]) * np.diag([1, -1, 1]) @ cv2.Rodrigues(v[:3])[0]

    def missing(v):
        return ((linear(v) @ points.T)[:2].T + v[4:6] - seen).ravel()

    start = np.concatenate([start, [np.log(scale)], seen.mean(axis=0)])
    v = least_squares(missing, start, x_scale="jac", xtol=1e-10, ftol=1e-10).x
    return np.column_stack([linear(v), [*v[4:6], 0]])


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


class TestFromWeakPerspective:
    @pytest.mark.parametrize("distance", DISTANCES)
    @pytest.mark.parametrize("pose", POSES)
    def test_rotation_and_distance_come_back(self, head, pose, distance):
        rotation = facing(*pose)
        for place in PLACES:
            translation = distance * np.array([*place, 1])
            matrix = weak_perspective(head, photographed(head, rotation, translation), rotation)
            found = from_weak_perspective(matrix, head, CAMERA)
            assert degrees_between(found.rotation, rotation) < 0.05
            assert found.distance == pytest.approx(np.linalg.norm(translation), rel=1e-3)
            np.testing.assert_allclose(found.translation, translation, rtol=1e-3, atol=0.02)

    @pytest.mark.parametrize("distance", DISTANCES)
    def test_it_is_needed(self, head, distance):
        """The rotation of the weak-perspective camera alone is wrong near the lens and at the edge of the image."""
        rotation, translation = facing(20, 0, 0), distance * np.array([0.5, 0.1, 1])
        matrix = weak_perspective(head, photographed(head, rotation, translation), rotation)
        weak = np.diag([1, -1, -1]) @ Camera(matrix).rotation
        assert degrees_between(weak, rotation) > 20

    @pytest.mark.parametrize("distance", DISTANCES)
    def test_another_choice_of_points_changes_little(self, model, head, distance):
        """Which points the view is nearest in is not known of a regressor; the whole surface and a sample agree."""
        rotation, translation = facing(25, -10, 5), distance * np.array([0.2, 0.1, 1])
        matrix = weak_perspective(head, photographed(head, rotation, translation), rotation)
        found = from_weak_perspective(matrix, model.mean, CAMERA)
        assert degrees_between(found.rotation, rotation) < 0.5
        assert found.distance == pytest.approx(np.linalg.norm(translation), rel=0.03)

    @pytest.mark.parametrize("distance", DISTANCES)
    def test_a_lens_that_bends(self, head, distance):
        for pose, place in zip(POSES, PLACES * 3, strict=False):
            rotation, translation = facing(*pose), distance * np.array([*np.multiply(place, 0.5), 1])
            matrix = weak_perspective(head, photographed(head, rotation, translation, BENT), rotation)
            found = from_weak_perspective(matrix, head, BENT)
            assert degrees_between(found.rotation, rotation) < 1.5, (pose, place)
            assert found.distance == pytest.approx(np.linalg.norm(translation), rel=0.03)

    def test_pixels_that_are_not_square(self, head):
        camera = Intrinsics([[1000, 0, 640], [0, 800, 300], [0, 0, 1]])
        rotation, translation = facing(15, 5, -10), np.array([20, -10, 120])
        square = Intrinsics([[1000, 0, 640], [0, 1000, 300], [0, 0, 1]])
        found = from_weak_perspective(
            weak_perspective(head, photographed(head, rotation, translation, camera), rotation), head, camera
        )
        # no rotation and scale make such a view: nearest is not near
        assert degrees_between(found.rotation, rotation) < 10
        assert found.distance == pytest.approx(np.linalg.norm(translation), rel=0.1)
        assert found.error > 3 * from_weak_perspective(
            weak_perspective(head, photographed(head, rotation, translation, square), rotation), head, square
        ).error  # fmt: skip

    def test_the_error_is_that_to_the_views_points(self, head):
        matrix = Camera.from_pose(20, 10, 5, 12, (700, 300, 0)).matrix.astype(float)
        found = from_weak_perspective(matrix, head, CAMERA)
        away = photographed(head, found.rotation, found.translation) - (head @ matrix[:2, :3].T + matrix[:2, 3])
        assert found.error == pytest.approx(np.sqrt((away**2).sum(axis=1).mean()), rel=1e-6)
        assert 0 < found.error < 8

    def test_from_far_away_it_is_the_weak_perspective_pose(self, head):
        camera = Camera.from_pose(20, 10, 5, 12, (639.5, 359.5, 0))
        far = Intrinsics.centered(1e6, SIZE)
        found = from_weak_perspective(camera.matrix, head, far)
        assert degrees_between(found.rotation, np.diag([1, -1, -1]) @ camera.rotation) < 0.01
        assert found.distance == pytest.approx(1e6 / 12, rel=1e-3)
        assert found.error < 0.01

    def test_a_matrix_that_is_no_similarity(self, head, rng):
        camera = Camera.from_pose(20, 10, 5, 12, (600, 300, 0))
        noisy = Camera(camera.matrix * (1 + rng.normal(0, 0.02, (3, 4))))
        found, exact = (from_weak_perspective(each.matrix, head, CAMERA) for each in (noisy, camera))
        assert degrees_between(found.rotation, exact.rotation) < 4
        assert found.distance == pytest.approx(exact.distance, rel=0.05)

    @pytest.mark.parametrize(
        ("matrix", "points", "message"),
        [
            (np.eye(3, 4), np.eye(3), "points: expected 6 or more, got 3"),
            (np.eye(3, 4), np.ones((9, 3)), "points: expected points that span a surface"),
            (np.eye(3, 4), np.outer(np.arange(9), (1, 2, 3)), "points: expected points that span a surface"),
            (np.eye(3, 4), np.full((9, 3), np.nan), "points: expected finite values"),
            (np.eye(3, 4), np.zeros((9, 2)), r"points: expected shape \(n, 3\)"),
            (np.full((3, 4), np.inf), None, "matrix: expected finite values"),
            (np.full((3, 4), 1e200), None, r"matrix: expected numbers of at most 1e\+30, got 1e\+200"),
            (np.eye(3, 4), 1e200 * np.eye(9, 3), r"points: expected numbers of at most 1e\+30, got 1e\+200"),
            (np.eye(3), None, r"matrix: expected shape \(3, 4\)"),
            (np.zeros((3, 4)), None, "points: no pose in front of the camera"),
            # as large as the image of a lens of 170 degrees: its surface would reach behind the lens
            (Camera.from_pose(0, 0, 0, 60, (640, 360, 0)).matrix, None, "points: no pose in front of the camera"),
        ],
    )
    def test_points_without_a_pose_are_refused(self, head, matrix, points, message):
        camera = Intrinsics.from_field_of_view(170, SIZE)
        with pytest.raises(ValueError, match=message):
            from_weak_perspective(matrix, head if points is None else points, camera)

    def test_a_flat_face(self, rng):
        flat = np.column_stack([rng.normal(size=(40, 2)) * 6, np.zeros(40)])
        rotation, translation = facing(35, 10, 0), np.array([5, 5, 80])
        matrix = weak_perspective(flat, photographed(flat, rotation, translation), rotation)
        found = from_weak_perspective(matrix, flat, CAMERA)
        assert degrees_between(found.rotation, rotation) < 0.5
        assert found.distance == pytest.approx(np.linalg.norm(translation), rel=0.01)


class TestFromImagePoints:
    @pytest.mark.parametrize("camera", [CAMERA, BENT])
    @pytest.mark.parametrize("pose", POSES)
    def test_it_is_exact(self, head, pose, camera):
        rotation = facing(*pose)
        for distance in DISTANCES:
            for place in PLACES[:2]:
                translation = distance * np.array([*place, 1])
                found = from_image_points(head, photographed(head, rotation, translation, camera), camera)
                assert degrees_between(found.rotation, rotation) < 0.01
                np.testing.assert_allclose(found.translation, translation, rtol=1e-3, atol=0.01)
                assert found.error < 0.01

    def test_six_points_with_noise(self, model, rng):
        points = model.mean[model.landmark_triangles[[8, 30, 36, 45, 48, 54], 0]].astype(float)
        seen = photographed(points, facing(10, 5, 0), (3, -4, 60)) + rng.normal(0, 0.5, (6, 2))
        found = from_image_points(points, seen, CAMERA)
        assert degrees_between(found.rotation, facing(10, 5, 0)) < 3
        assert found.distance == pytest.approx(60.2, rel=0.03)
        assert 0 < found.error < 1.5

    @pytest.mark.parametrize(
        ("points", "seen", "message"),
        [
            (np.zeros((5, 3)), np.zeros((5, 2)), "points: expected 6 or more, got 5"),
            (np.zeros((7, 3)), np.zeros((6, 2)), r"image_points: expected shape \(7, 2\)"),
            (np.eye(7, 3), np.full((7, 2), np.nan), "image_points: expected finite values"),
            (np.zeros((7, 3)), np.zeros((7, 2)), "no pose in front of the camera"),
            (1e200 * np.eye(7, 3), np.zeros((7, 2)), r"points: expected numbers of at most 1e\+30, got 1e\+200"),
            (np.outer(np.arange(7.0), (1, 2, 3)), np.outer(np.arange(7.0), (4, 5)), "no pose in front of the camera"),
        ],
    )
    def test_points_without_a_pose_are_refused(self, points, seen, message):
        with pytest.raises(ValueError, match=message):
            from_image_points(points, seen, CAMERA)


class TestSixDof:
    def test_forms_of_a_rotation_agree(self):
        for pose in (*POSES, (0, -90, 30), (180, 0, 0)):
            found = SixDof(facing(*pose), np.array([1.0, 2, 30]), CAMERA, 0.0)
            scipys = Rotation.from_matrix(found.rotation)
            np.testing.assert_allclose(
                Rotation.from_rotvec(found.rotation_vector).as_matrix(), found.rotation, atol=1e-9
            )
            points = np.array([[1.0, 2, 3], [-4, 5, 6]])
            placed = np.column_stack([points, np.ones(2)]) @ found.matrix.T
            np.testing.assert_allclose(placed[:, :3], points @ found.rotation.T + found.translation)
            np.testing.assert_array_equal(placed[:, 3], 1)
            w, x, y, z = found.quaternion
            assert w >= 0
            assert np.linalg.norm(found.quaternion) == pytest.approx(1)
            np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), found.rotation, atol=1e-9)
            angles = found.euler_degrees()
            np.testing.assert_allclose(facing(*angles), scipys.as_matrix(), atol=1e-6)

    def test_no_rotation(self):
        np.testing.assert_array_equal(quaternion_from_rotation(np.eye(3)), [1, 0, 0, 0])
        frontal = SixDof(facing(0, 0, 0), np.array([0.0, 0, 50]), CAMERA, 0.0)
        np.testing.assert_allclose(frontal.euler_degrees(), 0, atol=1e-9)
        np.testing.assert_allclose(frontal.img2pose_vector, 0, atol=1e-9)
        np.testing.assert_allclose(np.abs(frontal.rotation_vector), (np.pi, 0, 0), atol=1e-9)

    def test_img2poses_frames(self, model):
        """Its landmarks have y down and z into the face: turned so, they are drawn to the same px by its vector."""
        points = model.landmarks(np.zeros(model.shape_count), np.zeros(model.expression_count)).astype(np.float64)
        pose = SixDof(facing(30, -10, 20), np.array([5.0, -3, 70]), CAMERA, 0.0)
        theirs = points * (1, -1, -1)
        seen, _ = cv2.projectPoints(theirs, pose.img2pose_vector, pose.translation, CAMERA.matrix, None)
        np.testing.assert_allclose(pose.project(points), seen[:, 0], atol=1e-3)
        # clockwise in the image
        assert SixDof(facing(0, 0, 60), pose.translation, CAMERA, 0.0).img2pose_vector[2] == pytest.approx(np.pi / 3)

    def test_angles_are_those_of_the_image(self, model):
        """The subject's left is the image's right, and up is up; by the textbook's projection alone."""
        nose, ears = model.mean[model.landmark_triangles[30, 0]], model.mean[model.regions["left_ear"]].mean(axis=0)
        ears[0] = 0

        def seen(*pose):
            return np.diff(photographed(np.stack([ears, nose]).astype(float), facing(*pose), (0, 0, 100)), axis=0)[0]

        assert seen(40, 0, 0)[0] > seen(0, 0, 0)[0] + 30
        assert seen(0, 30, 0)[1] < seen(0, 0, 0)[1] - 30

    def test_project(self, head):
        for camera in (CAMERA, BENT):
            pose = SixDof(facing(30, 10, 5), np.array([10.0, 5, 60]), camera, 0.0)
            drawn = pose.project(head)
            assert drawn.dtype == np.float32
            expected = photographed(head, pose.rotation, pose.translation, camera)
            np.testing.assert_allclose(drawn, expected, atol=2e-4)

    def test_behind_the_camera_nothing_is_drawn(self):
        pose = SixDof(facing(0, 0, 0), np.array([0.0, 0, 10]), BENT, 0.0)
        drawn = pose.project([(0, 0, 0), (0, 0, 9.9), (0, 0, 10), (0, 0, 50)])
        assert np.isfinite(drawn).all(axis=1).tolist() == [True, True, False, False]
        assert pose.project(np.zeros((0, 3))).shape == (0, 2)
        with pytest.raises(ValueError, match=r"points: expected shape \(n, 3\)"):
            pose.project(np.zeros(3))

    def test_it_pickles(self):
        pose = SixDof(facing(30, 10, 5), np.array([10.0, 5, 60]), BENT, 1.5)
        again = pickle.loads(pickle.dumps(pose))
        np.testing.assert_array_equal(again.rotation, pose.rotation)
        np.testing.assert_array_equal(again.intrinsics.distortion, BENT.distortion)
        assert (again.distance, again.error) == (pose.distance, 1.5)


class TestFaces:
    """`Face.six_dof`, and `Decoder.six_dof`."""

    def test_the_image_size_gives_the_camera(self, model):
        face = make_face(model, Camera.from_pose(20, 5, 0, 10, (300, 200, 0)), image_size=(480, 640))
        found = face.six_dof()
        np.testing.assert_array_equal(found.intrinsics.matrix, [[1120, 0, 320], [0, 1120, 240], [0, 0, 1]])
        assert found.distance == pytest.approx(112, rel=0.1)
        points = model.landmarks(face.params.shape, face.params.expression)
        given = replace(face, image_size=None).six_dof(found.intrinsics, points=points)
        np.testing.assert_allclose(given.rotation, found.rotation, atol=1e-6)
        with pytest.raises(ValueError, match="intrinsics: expected Intrinsics, got None"):
            replace(face, image_size=None).six_dof()

    def test_a_photo(self, aligner, astronaut):
        (face,) = aligner(astronaut)
        dense, sparse = aligner.decoder.six_dof(face), face.six_dof()
        assert degrees_between(dense.rotation, sparse.rotation) < 2
        assert dense.distance == pytest.approx(sparse.distance, rel=0.1)
        # f = 1024 px, and a face about 10 cm from eye to eye and chin
        assert 120 < dense.distance < 200
        assert dense.error < 3
        halved = aligner.decoder.six_dof(face, Intrinsics.centered(512, astronaut.shape[:2]))
        assert halved.distance == pytest.approx(dense.distance / 2, rel=0.1)  # but for the head's own depth


def rendered(head, rotation, translation, camera, size):
    """A photo of a head by a perspective camera: its mesh and texture, each vertex where the lens draws it."""
    face = head.model.vertices(head.shape, np.zeros(head.model.expression_count, np.float32))
    points = np.concatenate([head.bust.head(face), head.bust.neck().reshape(-1, 3)]).astype(np.float64)
    depth = points @ rotation[2] + translation[2]
    vertices = np.column_stack([photographed(points, rotation, translation, camera), -depth]).astype(np.float32)
    height, width = size
    raster = rasterize(2 * vertices + 0.5, head.bust.triangles, (0, 0, 2 * width, 2 * height), cull="back")
    normals = vertex_normals((points @ rotation.T * (1, 1, -1)).astype(np.float32), head.bust.triangles)
    light = shade(normals, **LIGHT)
    sheet = head.atlas[0]
    at = interpolate(
        raster, head.bust.atlas_triangles, head.bust.atlas_points * np.float32(sheet.shape[1]) - np.float32(0.5)
    )
    color = cv2.remap(sheet, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    color *= interpolate(raster, head.bust.triangles, (light.diffuse + light.specular)[:, None])
    image = np.where(raster.mask[..., None], color, 128)
    return cv2.resize(np.clip(image, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)


def test_from_image_to_pose(aligner, astronaut):
    """Align a perspective image of a head, and compare its pose with the ground truth. Most of the error is the
    regressor's: at 3 m, where perspective has no effect, it rotates such heads by 5 degrees too.
    """
    head, size = Head.from_photo(astronaut, aligner, size=256), (480, 640)
    turns, distances = [], []
    for distance, focal in ((45, 480), (60, 640), (100, 1000), (300, 2800)):
        for pose in ((0, 0, 0), (25, 0, 0), (-40, 5, 0), (10, -15, 20)):
            camera, rotation = Intrinsics.centered(focal, size), facing(*pose)
            translation = distance * np.array([90 / focal, 20 / focal, 1])
            faces = aligner(rendered(head, rotation, translation, camera, size))
            assert len(faces) == 1, (distance, pose)
            found = aligner.decoder.six_dof(faces[0], camera)
            turns.append(degrees_between(found.rotation, rotation))
            distances.append(found.distance / np.linalg.norm(translation) - 1)
    assert np.median(turns) < 8, turns
    assert np.max(turns) < 15, turns
    assert np.median(np.abs(distances)) < 0.1, distances
    assert np.max(np.abs(distances)) < 0.2, distances
