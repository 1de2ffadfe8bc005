import sys

import cv2
import numpy as np
import pytest

from builders import make_face, make_mesh
from Sim3DR import rasterize
from tddfa import Camera, draw
from tddfa.draw.labels import Labels
from tddfa.draw.six_dof import format_distance
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.projected_box import projected_box

SIZE = (400, 500)
RED, GREEN, BLUE = (np.array(color) for color in ((70, 70, 235), (80, 200, 80), (245, 150, 60)))


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    noise.setflags(write=False)
    return noise


def head(model, yaw=0.0, pitch=0.0, roll=0.0, scale=9.0, at=(250.0, 220.0), track_id=None):
    """Face, mesh and pose."""
    face = make_face(model, Camera.from_pose(yaw, pitch, roll, scale, (*at, 0)), track_id=track_id, image_size=SIZE)
    return face, make_mesh(model, face.camera), face.six_dof(points=model.mean)


def overlay(image, heads, **options):
    faces, meshes, poses = zip(*heads, strict=True) if heads else ((), (), ())
    return draw.six_dof(image, faces, meshes, poses, **options)


def near(drawn, color, tolerance=40):
    """Pixels of about that colour; the tip of an arrow is lighter than its shaft."""
    light = np.minimum(255, 1.12 * color + 18)
    return np.minimum(*(np.abs(drawn - each).max(axis=-1) for each in (color, light))) < tolerance


class TestImage:
    def test_nothing_far_from_the_head_changes(self, image, model):
        face, mesh, pose = head(model, yaw=20, scale=6, at=(130.0, 150.0))
        result = overlay(image, [(face, mesh, pose)])
        assert result.shape == image.shape
        assert not np.shares_memory(result, image)
        changed = (result != image).any(axis=-1)
        assert changed[80:240, 60:200].mean() > 0.4
        changed[40:260, 30:260] = False
        assert not changed.any()

    def test_no_faces(self, image):
        np.testing.assert_array_equal(overlay(image, []), image)
        assert not overlay(image, [], background="black").any()

    def test_a_face_without_a_pose_is_not_drawn(self, image, model):
        face, mesh, _ = head(model)
        np.testing.assert_array_equal(overlay(image, [(face, mesh, None)]), image)
        other = head(model, at=(120.0, 200.0), scale=6)
        np.testing.assert_array_equal(overlay(image, [(face, mesh, None), other]), overlay(image, [other]))

    def test_the_surface_is_silver_and_where_the_mesh_is(self, image, model):
        _, mesh, _ = given = head(model)
        result = overlay(image, [given], alpha=1, background="black")
        mask = rasterize(mesh.vertices, mesh.triangles, (0, 0, SIZE[1], SIZE[0]), cull="back").mask
        inside = cv2.erode(mask.view(np.uint8), np.ones((7, 7))) > 0
        spread = np.ptp(result.astype(int), axis=-1)
        grey = result.mean(axis=-1)
        assert (spread[inside] < 30).mean() > 0.75, "no colour, but for the axes"
        assert np.median(grey[inside]) > 120
        assert np.percentile(grey[inside], 98) > 215, "it shines"
        assert np.percentile(grey[inside], 10) < np.median(grey[inside]) - 25

    def test_the_box_is_the_projected_one(self, image, model):
        face, mesh, pose = head(model, roll=80)
        result = overlay(np.zeros_like(image), [(face, mesh, pose)], alpha=0).astype(int)
        left, top, right, bottom = np.rint(projected_box(pose, face.model_landmarks, SIZE)).astype(int)
        frame = np.zeros(SIZE, np.uint8)
        cv2.rectangle(frame, (left, top), (right, bottom), 1, 1)
        drawn = (result > 100).any(axis=-1)
        assert drawn[frame > 0].mean() > 0.97
        assert face.landmarks[:, 0].max() + 20 < right, "the forehead lies to the right"

    @pytest.mark.parametrize(
        ("pose", "red", "green", "blue"),
        [
            ((0, 0, 0), (1, 0), (0, -1), None),
            ((70, 0, 0), None, (0, -1), (1, 0)),
            ((0, 0, 90), (0, 1), (1, 0), None),
            ((0, -60, 0), (1, 0), None, (0, 1)),
        ],
    )
    def test_axes_point_where_the_head_does(self, image, model, pose, red, green, blue):
        face, mesh, six = head(model, *pose)
        result = overlay(np.full_like(image, 128), [(face, mesh, six)], background="black").astype(float)
        tip = face.landmarks[30, :2]
        for color, direction in ((RED, red), (GREEN, green), (BLUE, blue)):
            if direction is not None:
                rows, columns = np.nonzero(near(result, color))
                away = np.stack([columns, rows], axis=1) - tip
                along = away @ direction
                assert len(away) > 150
                assert 60 < along.max() < 140
                assert abs(away[along > 20] @ (direction[1], -direction[0])).max() < 45

    @pytest.mark.parametrize("yaw", [-45, 0, 45])
    def test_axes_of_a_head_near_the_camera_do_not_hide_its_face(self, image, model, yaw):
        face, mesh, _ = head(model, yaw=yaw, scale=9)
        pose = face.six_dof(Intrinsics.centered(120, SIZE), points=model.mean)
        drawn = overlay(np.zeros_like(image), [(face, mesh, pose)], alpha=0).astype(float)
        box = projected_box(pose, face.model_landmarks, SIZE)
        for color in (RED, GREEN):
            places = np.argwhere(near(drawn, color))
            assert len(places)
            far = np.linalg.norm(places[:, ::-1] - face.landmarks[30, :2], axis=1).max()
            assert far < 0.65 * (box[2:] - box[:2]).max()

    def test_parts_nearer_to_the_camera_are_larger(self, image, model):
        face, mesh, _ = head(model, yaw=-45, scale=9)
        tips = []
        for focal in (300, 1e5):
            pose = face.six_dof(Intrinsics.centered(focal, SIZE), points=model.mean)
            drawn = overlay(np.zeros_like(image), [(face, mesh, pose)], alpha=0).astype(float)
            # the face looks to the left and at the viewer: the red axis points to the viewer, and so does its tip
            tips.append(int(near(drawn, RED).sum()))
        assert tips[0] > 1.15 * tips[1]

    def test_the_nearer_head_is_drawn_over_the_farther(self, image, model):
        far, close = head(model, scale=7, at=(230.0, 200.0)), head(model, scale=9, at=(270.0, 210.0))
        result = overlay(image, [close, far], alpha=1)
        np.testing.assert_array_equal(result, overlay(image, [far, close], alpha=1))
        alone = overlay(image, [close], alpha=1)
        mask = rasterize(close[1].vertices, close[1].triangles, (0, 0, SIZE[1], SIZE[0]), cull="back").mask
        inside = cv2.erode(mask.view(np.uint8), np.ones((9, 9))) > 0
        inside[:110] = False  # the label of the farther head
        same = (np.abs(result.astype(int) - alone).max(axis=-1) < 12)[inside]
        assert same.mean() > 0.98

    def test_the_order_is_by_distance_not_size(self, image, model):
        """A larger face whose pose is farther away is drawn first."""
        large, small = head(model, scale=9, at=(260.0, 210.0)), head(model, scale=8, at=(240.0, 205.0))
        farther = large[0].six_dof(Intrinsics.centered(5000, SIZE), points=model.mean)
        moved = (large[0], large[1], farther)
        result, alone = overlay(image, [moved, small], alpha=1), overlay(image, [small], alpha=1)
        center = small[0].landmarks[33, :2].astype(int)
        window = np.s_[center[1] + 4 : center[1] + 30, center[0] - 25 : center[0] - 5]
        assert np.abs(result[window].astype(int) - alone[window]).mean() < 2

    @pytest.mark.parametrize("at", [(-900.0, 240.0), (5000.0, 50.0), (-20.0, 395.0), (499.0, 0.0)])
    @pytest.mark.parametrize("scale", [0.3, 2, 30])
    def test_at_the_border_and_outside(self, image, model, at, scale):
        assert overlay(image, [head(model, yaw=30, scale=scale, at=at)]).shape == image.shape

    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 3), (7, 5, 3)])
    def test_small_images(self, model, shape):
        grey = np.full(shape, 77, np.uint8)
        assert overlay(grey, [head(model, at=(2.0, 2.0))]).shape == shape
        assert (grey == 77).all()

    def test_strided_images(self, image, model):
        for view in (image[::-1], image[..., ::-1], np.asfortranarray(image)):
            np.testing.assert_array_equal(
                overlay(view, [head(model)]), overlay(np.ascontiguousarray(view), [head(model)])
            )

    def test_wrong_arguments_are_named(self, image, model):
        face, mesh, _ = head(model)
        with pytest.raises(ValueError, match="meshes, poses: expected one for each of 1 faces"):
            draw.six_dof(image, [face], [mesh], [])
        with pytest.raises(ValueError, match="alpha"):
            overlay(image, [head(model)], alpha=2)
        with pytest.raises(ValueError, match="background"):
            overlay(image, [], background="red")
        with pytest.raises(TypeError, match="image"):
            overlay(image.astype(float), [])


class TestWords:
    @pytest.mark.parametrize(
        ("distance", "unit", "text"),
        [
            (62.4, "cm", "62 cm"),
            (99.4, "cm", "99 cm"),
            (99.6, "cm", "1.0 m"),
            (1234, "cm", "12.3 m"),
            (6.2e5, "um", "62 cm"),
            (1.5, "", "1.5"),
            (123456.0, "", "1.235e+05"),
        ],
    )
    def test_distances(self, distance, unit, text):
        assert format_distance(distance, unit) == text

    def plate(self, image, model, **options):
        """Part of the image above the box that a label darkens."""
        given = head(model, **options)
        result = overlay(np.full_like(image, 200), [given], alpha=0)
        top = int(projected_box(given[2], given[0].model_landmarks, SIZE)[1])
        return int((result[: top - 2] < 70).all(axis=-1).sum())

    def test_small_faces_have_none(self, image, model):
        assert self.plate(image, model, scale=6) > 200
        assert self.plate(image, model, scale=1.2) == 0

    def test_the_label_has_the_track_id(self, image, model):
        # the plate is as long as the text
        assert self.plate(image, model, track_id=12) > self.plate(image, model)

    def test_labels_of_a_crowd_do_not_overlap(self, image, model, monkeypatch):
        made = []
        module = sys.modules["tddfa.draw.six_dof"]  # the function has its name in tddfa.draw
        monkeypatch.setattr(module, "Labels", lambda image: made.append(Labels(image)) or made[0])
        heads = [head(model, scale=3.5 + 0.01 * k, at=(60.0 + 21 * k, 150.0 + 3 * k)) for k in range(18)]
        overlay(image, heads)
        plates = made[0].plates
        assert 12 < len(plates) <= 18
        covered = np.zeros(SIZE, int)
        for left, top, right, bottom in plates:
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1
        # the nearest has its label, above its box
        face, _, pose = min(heads, key=lambda each: each[2].distance)
        left, top, *_ = projected_box(pose, face.model_landmarks, SIZE).astype(int)
        assert (plates[0][0], plates[0][3]) == (left, top)
