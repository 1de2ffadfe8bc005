from dataclasses import replace

import numpy as np
import pytest

from builders import make_face
from tddfa import Camera, CropRule, Decoder, Roi, Tracker
from tddfa.crop import to_image
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.face_model import FaceModel
from tddfa.tracking.jitter import JitterMeter, jitter
from tddfa.tracking.smoothing import OneEuro, Tuning, filter_step, mean_face, rotation_step, smooth_all

CROP = CropRule(size=120, box_shift_y=0.14, box_scale=1.58, landmark_scale=1.2)
FPS = 30
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def shape():
    return np.random.default_rng(1).normal(size=40).astype(np.float32)


def face_of(model, shape, state, rng=None):
    """A face in a known state; with `rng`, with the noise of the regressor from frame to frame."""
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
        # the regressor's error is about the visible face, not about the model's origin behind it
        at = middle - noisy.project(model.landmarks(shape, expression)).mean(axis=0) + rng.normal(0, 0.6, 3)
        camera = Camera(np.column_stack([noisy.matrix[:, :3], at]))
    return make_face(
        model, camera, shape=shape, expression=expression, roi=Roi(x - 100, 200, 200), track_id=0, image_size=(600, 600)
    )


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


def lag_in_frames(smooth, target):
    """Delay at which the true motion fits the smoothed one best, frames."""
    smooth, target = (a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=0) for a in (smooth, target))
    at = np.arange(len(target))

    def misfit(delay):
        delayed = np.column_stack([np.interp(at - delay, at, column) for column in target.T])
        return ((delayed - smooth)[10:-10] ** 2).mean()

    delays = np.arange(-1, 5, 0.05)
    return delays[np.argmin([misfit(delay) for delay in delays])]


class TestOneEuro:
    def tracks(self, model, shape, kind):
        rng = np.random.default_rng(5)
        states = list(motion(kind))
        raw = [face_of(model, shape, state, rng) for state in states]
        smoother = OneEuro(Decoder(model, CROP))
        smooth = [smoother(face, 1 / FPS) for face in raw]
        target = np.array([face_of(model, shape, state).landmarks for state in states])
        return target, np.array([f.landmarks for f in raw]), np.array([f.landmarks for f in smooth]), smooth

    @pytest.mark.parametrize(
        ("kind", "points"),
        [
            ("turn", slice(0, 68, 4)), ("nod", slice(0, 68, 4)), ("walk", slice(0, 68, 4)),
            ("blink", slice(36, 48)), ("talk", slice(48, 68)),
        ],
    )  # fmt: skip
    def test_jitter_is_halved_at_a_lag_under_one_frame(self, model, shape, kind, points):
        target, raw, smooth, _ = self.tracks(model, shape, kind)
        # of the noise only: the second difference of the true motion stays
        assert jitter(smooth - target + target[:1]) < 0.5 * jitter(raw - target + target[:1])
        assert lag_in_frames(smooth[:, points, :2], target[:, points, :2]) < 1

    def test_a_face_at_rest_is_steady(self, model, shape):
        target, raw, smooth, _ = self.tracks(model, shape, "still")
        assert jitter(smooth) < 0.25 * jitter(raw)
        assert np.abs(smooth - target)[60:].mean() < 0.6 * np.abs(raw - target)[60:].mean()

    def test_blinks_stay_blinks(self, model, shape):
        target, _, smooth, _ = self.tracks(model, shape, "blink")

        def openness(track):
            return np.linalg.norm(track[:, 37, :2] - track[:, 41, :2], axis=1)

        closed, opened = openness(target).min(), np.median(openness(target))
        reached = (opened - openness(smooth).min()) / (opened - closed)
        assert reached > 0.75

    def test_landmarks_and_cameras_agree(self, model, shape):
        *_, faces = self.tracks(model, shape, "turn")
        face = faces[50]
        points = model.landmarks(face.params.shape, face.params.expression)
        np.testing.assert_allclose(face.camera.project(points), face.landmarks, atol=1e-3)
        np.testing.assert_allclose(face.roi.fold(face.params.camera, 120).matrix, face.camera.matrix, atol=1e-3)

    def test_without_noise_and_motion_nothing_changes(self, model, shape):
        face = face_of(model, shape, {"angles": (20, 10, -5)})
        smoother = OneEuro(Decoder(model, CROP))
        for _ in range(5):
            smooth = smoother(face, 1 / FPS)
        np.testing.assert_allclose(smooth.landmarks, face.landmarks, atol=0.01)
        np.testing.assert_allclose(smooth.camera.matrix, face.camera.matrix, atol=1e-3)

    def test_the_image_size_is_kept(self, model, shape):
        face = face_of(model, shape, {})
        assert OneEuro(Decoder(model, CROP))(face, 1 / FPS).image_size == (600, 600)


class TestSeveralFaces:
    def test_each_is_smoothed_as_alone(self, model, shape, rng):
        decoder = Decoder(model, CROP)
        states = [{}, {"angles": (20, 5, -8)}, {"x": 150.0, "expression": {"eyeBlinkLeft": 0.6}}]
        frames = [[face_of(model, shape, state, rng) for state in states] for _ in range(4)]
        together, alone = ([OneEuro(decoder) for _ in states] for _ in range(2))
        # the last face is there from the third frame on
        for count, faces in zip((2, 2, 3, 3), frames, strict=True):
            smooth = smooth_all(together[:count], faces[:count], 1 / FPS)
            for smoother, face, result in zip(alone, faces[:count], smooth, strict=False):
                expected = smoother(face, 1 / FPS)
                np.testing.assert_allclose(result.landmarks, expected.landmarks, atol=1e-4)
                np.testing.assert_allclose(result.params.camera, expected.params.camera, atol=1e-4)
                np.testing.assert_allclose(result.params.expression, expected.params.expression, atol=1e-6)

    def test_a_repeated_time_changes_nothing(self, model, shape, rng):
        smoother = OneEuro(Decoder(model, CROP))
        first, second = (smoother(face_of(model, shape, {}, rng), dt) for dt in (0.1, 0.0))
        np.testing.assert_allclose(second.landmarks, first.landmarks, atol=1e-4)


class OneEuroFilter:
    """The filter of a vector, or of a rotation (3, 3), over time."""

    def __init__(self, tuning):
        self.tuning, self.value = tuning, None

    def __call__(self, new, dt):
        if self.value is None:
            self.value, self.speed = new, np.zeros(new.shape[-1:])
        elif new.ndim == 1:
            self.value, self.speed = filter_step(self.value, self.speed, new, dt, self.tuning)
        else:
            parts = (part[None] for part in (self.value, self.speed, new))
            (self.value,), (self.speed,) = rotation_step(*parts, dt, self.tuning)
        return self.value


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

    def test_longer_gaps_weigh_more(self):
        for dt, fraction in ((1 / 30, 0.17), (1.0, 0.86), (100.0, 0.998)):
            one = OneEuroFilter(Tuning(1.0, 0.0))
            one(np.array([0.0]), dt)
            assert one(np.array([1.0]), dt)[0] == pytest.approx(fraction, abs=0.01)

    def test_some_components_share_a_cutoff(self, rng):
        value, speed, new = rng.normal(size=(3, 5))
        tuning = Tuning(1.0, 0.5)
        together, _ = filter_step(value, speed, new, 0.1, tuning, together=3)
        alone, after = filter_step(value, speed, new, 0.1, tuning)
        np.testing.assert_array_equal(together[3:], alone[3:])
        cutoff = 1 + 0.5 * np.linalg.norm(after[:3])
        np.testing.assert_allclose(together[:3], value[:3] + (new - value)[:3] / (1 + 10 / (2 * np.pi * cutoff)))

    def test_rotations_move_along_the_arc(self):
        one = OneEuroFilter(Tuning(1.0, 0.0))
        one(rotation_from_euler(0, 0, 0), 1 / 30)
        half = one(rotation_from_euler(40, 0, 0), 1 / 30)
        np.testing.assert_allclose(half @ half.T, np.eye(3), atol=1e-9)
        fraction = 1 / (1 + 30 / (2 * np.pi))
        np.testing.assert_allclose(half, rotation_from_euler(40 * fraction, 0, 0), atol=1e-6)

    def test_rotations_take_the_shorter_arc(self):
        one = OneEuroFilter(Tuning(1.0, 0.0))
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
        assert np.isnan(jitter(np.zeros((5, 68, 3))))
        with pytest.raises(ValueError, match=r"tracks: expected shape \(n, n, n\)"):
            jitter(still[0])

    def test_the_meter_agrees_frame_by_frame(self, model, shape):
        rng = np.random.default_rng(2)
        faces = [face_of(model, shape, {}, rng) for _ in range(20)]
        meter = JitterMeter()
        assert np.isnan(meter.value)
        for face in faces:
            meter.add([face])
        assert meter.value == pytest.approx(jitter(np.array([f.landmarks for f in faces])), rel=0.02)

    def test_faces_without_an_id_are_left_out(self, model, shape):
        meter = JitterMeter()
        for x in (100, 105, 100):
            shaking = face_of(model, shape, {"x": x})
            meter.add([replace(shaking, track_id=None), replace(face_of(model, shape, {"x": 300}), track_id=None)])
        assert np.isnan(meter.value)
        for x in (100, 105, 100):
            meter.add([face_of(model, shape, {"x": x}), replace(face_of(model, shape, {"x": 300}), track_id=None)])
        assert meter.value > 1

    def test_a_gap_is_not_a_jump(self, model, shape):
        meter = JitterMeter()
        for x in (100, 100, 100):
            meter.add([face_of(model, shape, {"x": x})])
        meter.add([])
        for x in (900, 900, 900):
            meter.add([face_of(model, shape, {"x": x})])
        assert meter.value == pytest.approx(0, abs=1e-4)


class TestMeanFace:
    def faces(self, model, shape, states):
        rng = np.random.default_rng(3)
        return [face_of(model, shape, state, rng) for state in states]

    def test_is_next_to_the_mean_of_the_vertices(self, model, shape):
        faces = self.faces(model, shape, [{"angles": (yaw, 0, 0)} for yaw in (0, 3, 6)])
        mean = mean_face(faces, faces[1], Decoder(model, CROP))

        def vertices(face):
            return face.camera.project(model.vertices(face.params.shape, face.params.expression))

        expected = np.mean([vertices(face) for face in faces], axis=0)
        assert np.linalg.norm(vertices(mean) - expected, axis=1).max() < 0.1  # px, of a face of 160 px
        np.testing.assert_allclose(mean.landmarks, np.mean([f.landmarks for f in faces], axis=0), atol=0.1)

    def test_is_exact_where_only_scale_and_coefficients_change(self, model):
        rng = np.random.default_rng(4)
        faces = [
            make_face(
                model, Camera.from_pose(20, 10, 5, scale, (300, 300, 0)), shape=rng.normal(size=40),
                expression=rng.uniform(0, 1, 55),
            )
            for scale in (8, 10, 14)
        ]  # fmt: skip
        mean = mean_face(faces, faces[1], Decoder(model, CROP))
        np.testing.assert_allclose(mean.landmarks, np.mean([f.landmarks for f in faces], axis=0), atol=1e-3)

    def test_keeps_what_belongs_to_the_frame(self, model, shape):
        faces = self.faces(model, shape, [{}, {}, {}])
        mean = mean_face(faces, faces[1], Decoder(model, CROP))
        assert mean.box is faces[1].box
        assert mean.roi is faces[1].roi
        assert (mean.track_id, mean.image_size) == (0, (600, 600))

    def test_of_one_frame_is_its_face(self, model, shape):
        (face,) = self.faces(model, shape, [{}])
        assert mean_face([face], face, Decoder(model, CROP)) is face

    def test_of_one_other_frame_keeps_what_belongs_to_the_face(self, model, shape):
        there, here = self.faces(model, shape, [{"x": 200}, {"x": 300}])
        mean = mean_face([there], replace(here, track_id=7), Decoder(model, CROP))
        assert mean.track_id == 7
        np.testing.assert_allclose(mean.landmarks, there.landmarks, atol=1e-3)

    def test_of_no_frame(self, model, shape):
        (face,) = self.faces(model, shape, [{}])
        with pytest.raises(ValueError, match="faces: expected one face or more"):
            mean_face([], face, Decoder(model, CROP))


@pytest.fixture(scope="module", params=["none", "one_euro", "lookahead"])
def smoothed(request, aligner, astronaut):
    noise = np.random.default_rng(0).normal(0, 6, (5, *astronaut.shape))
    frames = [np.roll(astronaut, 6 * k, axis=1) + noise[k] for k in range(5)]
    tracker = Tracker(aligner, smooth=request.param)
    out = list(tracker.run([np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]))
    return out[2][1][0]


class TestOneFace:
    """After every kind of smoothing, all outputs of a face come from one camera, one shape and one expression."""

    def test_landmarks_are_points_of_the_mesh(self, aligner, smoothed):
        model, vertices = aligner.face_model, aligner.decoder.mesh(smoothed).vertices
        on_surface = (vertices[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
        np.testing.assert_allclose(aligner.decoder.landmarks(smoothed, model.convention), on_surface, atol=1e-3)
        np.testing.assert_allclose(smoothed.landmarks, on_surface, atol=1e-3)

    def test_the_cameras_agree(self, aligner, smoothed):
        in_image = to_image(smoothed.roi, smoothed.params.camera, aligner.crop)
        np.testing.assert_allclose(in_image.matrix, smoothed.camera.matrix, atol=1e-3)

    def test_the_record_agrees(self, aligner, smoothed):
        record = smoothed.to_dict(aligner.decoder)
        np.testing.assert_allclose(record["landmarks"], smoothed.landmarks, atol=1e-3)
        np.testing.assert_allclose(record["camera"], smoothed.camera.matrix, atol=1e-4)
        assert list(record["pose"].values()) == pytest.approx(smoothed.camera.euler_degrees(), abs=1e-3)
        np.testing.assert_allclose(record["shape"], smoothed.params.shape, atol=1e-4)
        assert record["expression"] == pytest.approx(aligner.decoder.expression(smoothed), abs=1e-4)
        low, high = aligner.face_model.expression_range
        weights = np.clip(smoothed.params.expression, low, high)
        np.testing.assert_allclose(list(record["expression"].values()), weights, atol=1e-4)
        pose = aligner.decoder.six_dof(smoothed)
        np.testing.assert_allclose(record["six_dof"]["translation"], pose.translation, atol=1e-3)

    def test_the_six_dof_pose_projects_onto_the_landmarks(self, aligner, smoothed):
        points = aligner.face_model.landmarks(smoothed.params.shape, smoothed.params.expression)
        pose = aligner.decoder.six_dof(smoothed)
        gap = np.linalg.norm(pose.project(points)[:, :2] - smoothed.landmarks[:, :2], axis=1)
        size = np.ptp(smoothed.landmarks[:, 0])
        assert gap.mean() < 0.02 * size  # a perspective camera, against weak perspective
        assert gap.mean() < 2 * pose.error
