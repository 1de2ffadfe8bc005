from dataclasses import replace

import numpy as np
import pytest

from tddfa import Camera, Face, Params, Roi
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.face_model import FaceModel
from tddfa.tracking.smoothing import JitterMeter, OneEuro, OneEuroFilter, OneEuroRotation, Tuning, jitter, mean_of

FPS = 30
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def shape():
    return np.random.default_rng(1).normal(size=40).astype(np.float32)


def face_of(model, shape, state, rng=None):
    """A face in a known state; with `rng`, as noisy as the regressor's are from frame to frame."""
    angles, x, scale = np.array(state.get("angles", (0.0, 0.0, 0.0))), state.get("x", 300.0), 10.0
    expression = np.zeros(55, np.float32)
    for name, weight in state.get("expression", {}).items():
        expression[model.expression_names.index(name)] = weight
    camera = Camera.from_pose(*angles, scale, (x, 300, 0))
    if rng is not None:
        middle = camera.project(model.landmarks(shape, expression)).mean(axis=0)
        scale *= np.exp(rng.normal(0, 0.006))
        expression = expression + rng.normal(0, 0.03, 55).astype(np.float32)
        shape = shape + rng.normal(0, 0.15, 40).astype(np.float32)
        noisy = Camera.from_pose(*(angles + rng.normal(0, 0.6, 3)), scale)
        # the regressor errs about the face that it sees, not about the model's origin behind it
        at = middle - noisy.project(model.landmarks(shape, expression)).mean(axis=0) + rng.normal(0, 0.6, 3)
        camera = Camera(np.column_stack([noisy.matrix[:, :3], at]))
    roi = Roi(x - 100, 200, 200)
    landmarks = camera.project(model.landmarks(shape, expression))
    return Face(
        np.array([x - 80, 220, x + 80, 380]), 1.0, roi, Params(roi.unfold(camera, 120), shape, expression), camera,
        landmarks, track_id=0,
    )  # fmt: skip


def motion(kind, seconds=8):
    for t in np.arange(seconds * FPS) / FPS:
        swing = np.sin(2 * np.pi * t / 3)
        yield {
            "still": {},
            "turn": {"angles": (30 * swing, 0, 0)},
            "nod": {"angles": (0, 15 * np.sin(2 * np.pi * t / 1.2), 0)},
            "walk": {"x": 300 + 200 * swing},
            "blink": {"expression": dict.fromkeys(BLINKS, max(0, 1 - 8 * abs(t % 1.5 - 0.7)))},
            "talk": {"expression": {"jawOpen": 0.3 + 0.3 * np.sin(6 * np.pi * t)}},
        }[kind]  # fmt: skip


def lag_in_frames(smooth, truth):
    """The delay at which the true motion fits the smoothed one best."""
    smooth, truth = (a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=0) for a in (smooth, truth))
    at = np.arange(len(truth))

    def misfit(delay):
        delayed = np.column_stack([np.interp(at - delay, at, column) for column in truth.T])
        return ((delayed - smooth)[10:-10] ** 2).mean()

    delays = np.arange(-1, 5, 0.05)
    return delays[np.argmin([misfit(delay) for delay in delays])]


class TestOneEuro:
    def tracks(self, model, shape, kind):
        rng = np.random.default_rng(5)
        states = list(motion(kind))
        raw = [face_of(model, shape, state, rng) for state in states]
        smoother = OneEuro(model, 120)
        smooth = [smoother(face, 1 / FPS) for face in raw]
        truth = np.array([face_of(model, shape, state).landmarks for state in states])
        return truth, np.array([f.landmarks for f in raw]), np.array([f.landmarks for f in smooth]), smooth

    @pytest.mark.parametrize(
        ("kind", "points"),
        [
            ("turn", slice(0, 68, 4)), ("nod", slice(0, 68, 4)), ("walk", slice(0, 68, 4)),
            ("blink", slice(36, 48)), ("talk", slice(48, 68)),
        ],
    )  # fmt: skip
    def test_jitter_is_halved_at_a_lag_under_one_frame(self, model, shape, kind, points):
        truth, raw, smooth, _ = self.tracks(model, shape, kind)
        # of the trembling only: the true motion's own second difference stays
        assert jitter(smooth - truth + truth[:1]) < 0.5 * jitter(raw - truth + truth[:1])
        assert lag_in_frames(smooth[:, points, :2], truth[:, points, :2]) < 1

    def test_a_face_at_rest_is_steady(self, model, shape):
        truth, raw, smooth, _ = self.tracks(model, shape, "still")
        assert jitter(smooth) < 0.25 * jitter(raw)
        assert np.abs(smooth - truth)[60:].mean() < 0.6 * np.abs(raw - truth)[60:].mean()

    def test_blinks_stay_blinks(self, model, shape):
        truth, _, smooth, _ = self.tracks(model, shape, "blink")

        def openness(track):
            return np.linalg.norm(track[:, 37, :2] - track[:, 41, :2], axis=1)

        closed, opened = openness(truth).min(), np.median(openness(truth))
        reached = (opened - openness(smooth).min()) / (opened - closed)
        assert reached > 0.75

    def test_a_smoothed_face_is_a_face_still(self, model, shape):
        *_, faces = self.tracks(model, shape, "turn")
        face = faces[50]
        points = model.landmarks(face.params.shape, face.params.expression)
        np.testing.assert_allclose(face.camera.project(points), face.landmarks, atol=1e-3)
        np.testing.assert_allclose(face.roi.fold(face.params.camera, 120).matrix, face.camera.matrix, atol=1e-3)

    def test_without_noise_and_motion_nothing_changes(self, model, shape):
        face = face_of(model, shape, {"angles": (20, 10, -5)})
        smoother = OneEuro(model, 120)
        for _ in range(5):
            smooth = smoother(face, 1 / FPS)
        np.testing.assert_allclose(smooth.landmarks, face.landmarks, atol=0.01)
        np.testing.assert_allclose(smooth.camera.matrix, face.camera.matrix, atol=1e-3)

    def test_the_pictures_size_stays_known(self, model, shape):
        face = face_of(model, shape, {})
        sized = replace(face, image_size=(480, 640))
        assert OneEuro(model, 120)(sized, 1 / FPS).image_size == (480, 640)
        assert mean_of([sized, sized], sized).image_size == (480, 640)


class TestFilters:
    def test_agrees_with_the_papers_formulas(self, rng):
        tuning, dt = Tuning(1.0, 0.5, 1.0), 1 / 30
        values = rng.normal(size=50).cumsum()
        one = OneEuroFilter(tuning)
        filtered = [one(np.array([v]), dt)[0] for v in values]

        def alpha(cutoff):
            return 1 / (1 + (1 / (2 * np.pi * cutoff)) / dt)

        expected, speed = [values[0]], 0.0
        for value in values[1:]:
            speed = alpha(1.0) * (value - expected[-1]) / dt + (1 - alpha(1.0)) * speed
            gain = alpha(1.0 + 0.5 * abs(speed))
            expected.append(gain * value + (1 - gain) * expected[-1])
        np.testing.assert_allclose(filtered, expected)

    def test_longer_gaps_take_in_more(self):
        for dt, share in ((1 / 30, 0.17), (1.0, 0.86), (100.0, 0.998)):
            one = OneEuroFilter(Tuning(1.0, 0.0))
            one(np.array([0.0]), dt)
            assert one(np.array([1.0]), dt)[0] == pytest.approx(share, abs=0.01)

    def test_the_same_time_twice_changes_nothing(self):
        one = OneEuroFilter(Tuning(1.0, 0.0))
        one(np.array([3.0]), 0.1)
        assert one(np.array([5.0]), 0.0)[0] == 3.0

    def test_rotations_move_along_the_arc(self):
        one = OneEuroRotation(Tuning(1.0, 0.0))
        one(rotation_from_euler(0, 0, 0), 1 / 30)
        half = one(rotation_from_euler(40, 0, 0), 1 / 30)
        np.testing.assert_allclose(half @ half.T, np.eye(3), atol=1e-9)
        share = 1 / (1 + 30 / (2 * np.pi))
        np.testing.assert_allclose(half, rotation_from_euler(40 * share, 0, 0), atol=1e-6)

    def test_over_the_back_it_takes_the_short_way(self):
        one = OneEuroRotation(Tuning(1.0, 0.0))
        one(rotation_from_euler(179, 0, 0), 1 / 30)
        seen = one(rotation_from_euler(-179, 0, 0), 1 / 30)
        assert np.degrees(np.arccos((np.trace(seen @ rotation_from_euler(180, 0, 0).T) - 1) / 2)) < 1.5


class TestMeasures:
    def test_jitter_of_known_motion(self):
        still = np.zeros((5, 68, 2)) + np.random.default_rng(0).uniform(0, 100, (68, 2))
        size = np.sqrt(np.ptp(still[0], axis=0).prod())
        assert jitter(still) == pytest.approx(0)
        assert jitter(still + np.arange(5)[:, None, None] * 3) == pytest.approx(0, abs=1e-9)
        shaking = still + np.array([0, 1, 0, 1, 0])[:, None, None] * np.array([2.0, 0])
        assert jitter(shaking) == pytest.approx(100 * 4 / size)
        assert np.isnan(jitter(still[:2]))

    def test_the_meter_agrees_frame_by_frame(self, model, shape):
        rng = np.random.default_rng(2)
        faces = [face_of(model, shape, {}, rng) for _ in range(20)]
        meter = JitterMeter()
        assert np.isnan(meter.value)
        for face in faces:
            meter.add([face])
        assert meter.value == pytest.approx(jitter(np.array([f.landmarks for f in faces])), rel=0.02)

    def test_a_gap_is_no_jump(self, model, shape):
        meter = JitterMeter()
        for x in (100, 100, 100):
            meter.add([face_of(model, shape, {"x": x})])
        meter.add([])
        for x in (900, 900, 900):
            meter.add([face_of(model, shape, {"x": x})])
        assert meter.value == pytest.approx(0, abs=1e-4)


def test_mean_of_faces(model, shape):
    rng = np.random.default_rng(3)
    faces = [face_of(model, shape, {}, rng) for _ in range(3)]
    mean = mean_of(faces, faces[1])
    np.testing.assert_allclose(mean.landmarks, np.mean([f.landmarks for f in faces], axis=0), atol=1e-4)
    assert mean.mean_of == tuple(faces)
    assert mean.box is faces[1].box
    assert mean_of(faces[:1], faces[0]) is faces[0]
