"""The tracker in a simulated world: people on known paths, and a detector and a regressor that see them."""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import pytest

from builders import make_face, make_face_model
from FaceBoxes import Detections
from tddfa import Camera, CropRule, Decoder, Detector, Roi
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_box, roi_from_landmarks
from tddfa.tracking.settings import TrackerSettings
from tddfa.tracking.tracker import Tracker

RULE = CropRule(size=120, box_shift_y=0.0, box_scale=1.2, landmark_scale=1.25)
FPS = 30


def landmarks_at(x, y, size):
    """68 points on a disc, `size` px wide."""
    angle = np.arange(68) * 2.4
    radius = np.sqrt(np.arange(68) / 67) / 2
    points = np.column_stack([x + size * radius * np.cos(angle), y + size * radius * np.sin(angle), np.zeros(68)])
    return points.astype(np.float32)


@cache
def disc_model():
    """A face model of the 68 points of a disc: 4 shapes that only name a person, and a coefficient per coordinate."""
    points = np.arange(68, dtype=np.int32)
    basis = np.zeros((4 + 204, 68, 3), np.float32)
    basis[4:] = np.eye(204).reshape(204, 68, 3)
    return make_face_model(
        mean=landmarks_at(0, 0, 1), basis=basis, shape_count=4, part=np.zeros(68, np.uint8),
        landmark_triangles=np.stack([points] * 3, axis=1), expression_names=tuple(map(str, range(204))),
        expression_range=None,
    )  # fmt: skip


@dataclass
class Person:
    """A person: `path` gives x, y and size (px) at a time, or None."""

    path: object
    identity: int = 0
    detected: float = 0.9  # score of the detector


class World:
    """Stands in for an `Aligner`. The first pixel of a frame holds its number."""

    def __init__(self, *people, noise=0.0, score=True):
        self.people, self.noise = people, noise
        self.crop, self.min_score, self.rotations = RULE, 0.95 if score else None, "off"
        self.sure_score = None
        self.rng = np.random.default_rng(0)
        self.calls = self.detections = 0
        self.face_model = disc_model()
        self.decoder = Decoder(self.face_model, RULE)

    def frame(self, number, size=(360, 640), scene=0):
        rng = np.random.default_rng(scene)
        image = np.kron(rng.integers(0, 200, (size[0] // 40, size[1] // 40, 3)), np.ones((40, 40, 1))).astype(np.uint8)
        image[0, 0] = number // 256, number % 256, 0
        return image

    def seen(self, image):
        t = (int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])) / FPS
        positions = [(person, person.path(t)) for person in self.people]
        # the larger one is in front
        return sorted(((p, at) for p, at in positions if at is not None), key=lambda pair: -pair[1][2])

    def visible(self, image):
        """People whose centre is not covered by one in front."""
        result = []
        for person, (x, y, size) in self.seen(image):
            hidden = any(abs(x - a) < 0.35 * s and abs(y - b) < 0.5 * s for _, (a, b, s) in result)
            if not hidden and -size / 4 < x < image.shape[1] + size / 4:
                result.append((person, (x, y, size)))
        return result

    def rois(self, faces):
        return [roi_from_landmarks(face.landmarks, RULE) for face in faces]

    def detector(self, image):
        self.detections += 1
        seen = self.visible(image)
        boxes = [(x - s / 2, y - s / 2, x + s / 2, y + s / 2) for _, (x, y, s) in seen]
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), [person.detected for person, _ in seen])

    def __call__(self, image, *, rois=None, boxes=None):
        if boxes is not None:
            rois = [roi_from_box(box[:4], RULE) for box in boxes]
        self.calls += 1
        return [self.align(image, roi) for roi in rois]

    def align(self, image, roi):
        x, y = roi.left + roi.side / 2, roi.top + roi.side / 2
        near = [
            (np.hypot(x - a, y - b) / roi.side, person, (a, b, s))
            for person, (a, b, s) in self.visible(image)
            if np.hypot(x - a, y - b) < 0.45 * roi.side
        ]
        if not near:
            person, (a, b, s), score = Person(None, -1), (x, y, roi.side / 1.25), 0.1
        else:
            _, person, (a, b, s) = min(near, key=lambda item: item[0])
            score = 0.999
        return make_face(
            self.face_model,
            Camera(np.column_stack([s * np.eye(3), (a, b, 0)])),
            shape=np.full(4, person.identity, np.float32),
            expression=(self.rng.normal(0, self.noise, 204) / s).astype(np.float32),
            box=np.array([a - s / 2, b - s / 2, a + s / 2, b + s / 2]),
            score=score if self.min_score else 1.0,
            roi=roi,
        )


def play(world, frames, **options):
    """For each frame, the person on whom each track id is."""
    tracker = Tracker(world, smooth="none", **options)
    result = []
    for number in range(frames):
        faces = tracker(world.frame(number))
        result.append({face.track_id: int(face.params.shape[0]) for face in faces})
    return result


def still(x, y=180, size=80):
    return lambda t: (x, y, size)


class TestFollowing:
    def test_one_person_keeps_one_id_and_the_detector_runs_rarely(self):
        world = World(Person(lambda t: (100 + 100 * t, 180, 80), 1), noise=0.5)
        seen = play(world, 120, detect_every=15)
        assert all(frame == {0: 1} for frame in seen)
        assert world.detections == 1 + 119 // 15
        assert world.calls == 120, "one network call per frame for all faces"

    def test_several_people_one_call_a_frame(self):
        world = World(Person(still(100), 1), Person(still(300), 2), Person(still(500), 3))
        seen = play(world, 60)
        assert all(frame == {0: seen[0][0], 1: seen[0][1], 2: seen[0][2]} for frame in seen)
        assert set(seen[0].values()) == {1, 2, 3}
        assert world.calls == 60

    def test_a_fast_face_is_followed_by_its_velocity(self):
        world = World(Person(lambda t: (50 + 900 * t, 180, 80), 1))  # 30 px a frame, more than a third of the face
        assert all(frame == {0: 1} for frame in play(world, 19, detect_every=1000))

    def test_a_new_face_is_tracked_from_the_next_detection(self):
        late = Person(lambda t: (500, 180, 80) if t > 1 else None, 2)
        seen = play(World(Person(still(100), 1), late), 60, detect_every=10)
        assert seen[30] == {0: 1}
        assert seen[41] == {0: 1, 1: 2}

    def test_max_faces(self):
        world = World(Person(still(100), 1), Person(still(300), 2), Person(still(500), 3))
        assert all(len(frame) == 2 for frame in play(world, 40, max_faces=2))

    def test_max_faces_keeps_the_largest(self):
        world = World(Person(still(100, size=50), 1), Person(still(300, size=90), 2), Person(still(500, size=70), 3))
        assert all(set(frame.values()) == {2, 3} for frame in play(world, 20, max_faces=2))

    def test_small_faces_are_kept(self):
        world = World(Person(lambda t: (100 + 30 * t, 180, 30), 1))  # 900 px squared
        assert all(frame == {0: 1} for frame in play(world, 60, detect_every=1000))
        assert world.detections == 1


class TestLostTracks:
    def test_a_face_that_disappears_ends_its_track_at_once(self):
        seen = play(World(Person(lambda t: (100, 180, 80) if t < 1 else None, 1)), 60)
        assert seen[29] == {0: 1}
        assert all(frame == {} for frame in seen[30:])

    def test_a_face_that_reappears_soon_keeps_its_id(self):
        there = Person(lambda t: (100, 180, 80) if not 1 <= t < 1.8 else None, 1)
        seen = play(World(there), 90)
        assert seen[40] == {}
        assert seen[60] == {0: 1}

    def test_a_face_that_leaves_the_image_and_returns_keeps_its_id(self):
        leaving = Person(lambda t: (560 + 160 * np.sin(np.pi * t / 2), 180, 80), 1)
        seen = play(World(leaving), 75)
        assert {} in seen
        assert seen[0] == seen[-1] == {0: 1}

    def test_a_face_that_reappears_late_gets_a_new_id(self):
        there = Person(lambda t: (100, 180, 80) if not 1 <= t < 4.5 else None, 1)
        assert play(World(there), 150, remember=2.0)[-1] == {1: 1}

    def test_another_face_elsewhere_gets_a_new_id(self):
        first = Person(lambda t: (80, 180, 60) if t < 1 else None, 1)
        second = Person(lambda t: (560, 180, 60) if t >= 1.2 else None, 2)
        assert play(World(first, second), 60)[-1] == {1: 2}

    def test_without_a_face_score_the_detector_decides(self):
        world = World(Person(lambda t: (100, 180, 80) if t < 1 else None, 1), score=False)
        seen = play(world, 90, detect_every=5)
        assert seen[29] == {0: 1}
        assert seen[-1] == {}


class TestStart:
    """The score of a face in `World` is 0.999, and `min_score` 0.95."""

    @pytest.mark.parametrize(("fraction", "tracks"), [(0.97, 1), (0.99, 0)])
    def test_a_track_starts_with_a_face_that_is_sure_enough(self, fraction, tracks):
        settings = TrackerSettings(start_score_fraction=fraction)
        seen = play(World(Person(still(200, 180), 1)), 5, settings=settings)
        assert [len(each) for each in seen] == [tracks] * 5

    @pytest.mark.parametrize(("detected", "tracks"), [(0.3, 1), (0.4, 2)])
    def test_beside_a_tracked_face_a_weak_detection_starts_no_track(self, detected, tracks):
        world = World(Person(still(200, 180), 1), Person(lambda t: (500, 180, 80) if t > 0.1 else None, 2, detected))
        assert len(play(world, 20, detect_every=5)[-1]) == tracks

    def test_alone_a_weak_detection_starts_a_track(self):
        assert len(play(World(Person(still(200, 180), 1, detected=0.3)), 5)[-1]) == 1


@pytest.mark.parametrize(("detected", "sure_score", "tracks"), [(0.3, None, 1), (0.3, 0.9995, 0), (0.7, 0.9995, 1)])
def test_a_doubtful_detection_starts_a_track_if_its_face_is_sure(detected, sure_score, tracks):
    """As in a photo: the score of the face is 0.999."""
    world = World(Person(still(200), 1, detected=detected))
    world.sure_score = sure_score
    assert [len(seen) for seen in play(world, 3)] == [tracks] * 3


def test_a_doubtful_detection_continues_a_lost_track_though_its_face_is_not_sure():
    """The score of the face is 0.999."""
    person = Person(lambda t: None if 0.4 < t < 0.8 else (200, 180, 80), 1)
    world = World(person)
    world.sure_score = 0.9995
    tracker, seen = Tracker(world, smooth="none"), []
    for number in range(40):
        person.detected = 0.9 if number < 15 else 0.3
        seen.append([face.track_id for face in tracker(world.frame(number))])
    assert seen[0] == seen[-1] == [0] and [] in seen


class TestFastMotion:
    """Speeds are in face widths a frame; a path that reaches the border turns back."""

    SPEEDS = (0.6, 0.8, 1.0, 1.25, 1.5)

    def to_and_fro(self, low, high, step, start):
        return lambda t: (low + abs((start - low + step * round(t * FPS)) % (2 * (high - low)) - (high - low)), 180, 80)

    @pytest.mark.parametrize("speed", SPEEDS)
    def test_one_moving_face_keeps_one_id(self, speed):
        seen = play(World(Person(self.to_and_fro(60, 580, speed * 80, 60), 1)), 12)
        assert seen == [{0: 1}] * 12

    @pytest.mark.parametrize("speed", SPEEDS)
    def test_a_face_that_moves_above_still_ones_keeps_its_id(self, speed):
        def moving(t):
            x, _, size = self.to_and_fro(60, 580, speed * 80, 60)(t)
            return x, 60, size

        world = World(Person(moving, 1), Person(still(200, 280), 2), Person(still(450, 280), 3))
        seen = play(world, 12)
        ids = {identity: track for track, identity in seen[0].items()}
        assert seen == [{ids[1]: 1, ids[2]: 2, ids[3]: 3}] * 12

    @pytest.mark.parametrize("speed", SPEEDS)
    def test_a_camera_that_pans_fast_keeps_the_id(self, aligner, astronaut, speed):
        (face,) = aligner(astronaut)
        path = self.to_and_fro(-150, 220, speed * (face.box[2] - face.box[0]), -150)
        tracker = Tracker(aligner, smooth="none")
        ids = [[f.track_id for f in tracker(np.roll(astronaut, round(path(n / FPS)[0]), axis=1))] for n in range(12)]
        assert ids == [[0]] * 12

    def test_a_fast_pan_keeps_the_ids_of_two_people(self, aligner, two_people):
        tracker = Tracker(aligner, smooth="none")
        ids = []
        for shift in (0, 90, 0, -90, 0, 45, -45):
            faces = tracker(np.roll(two_people, shift, axis=1))
            ids.append([face.track_id for face in sorted(faces, key=lambda face: face.landmarks[0, 0])])
        assert ids == [ids[0]] * len(ids)
        assert len(ids[0]) == 2

    def test_another_person_in_the_same_place_after_a_cut_gets_a_new_id(self, aligner, astronaut, two_people):
        (face,) = aligner(astronaut)
        other = max(aligner(two_people), key=lambda other: other.landmarks[:, 0].mean())
        side, target = np.ptp(other.landmarks[:, 0]), np.ptp(face.landmarks[:, 0])
        move = np.array([[target / side, 0, 0], [0, target / side, 0]])
        move[:, 2] = (face.landmarks - other.landmarks * target / side)[:, :2].mean(axis=0)
        second = cv2.warpAffine(two_people, move, astronaut.shape[1::-1], borderValue=(200, 40, 90))
        tracker = Tracker(aligner, smooth="none")
        assert [face.track_id for face in tracker(astronaut)] == [0]
        (new,) = tracker(second)[:1]
        assert np.linalg.norm((new.landmarks - face.landmarks).mean(axis=0)) < 0.2 * target
        assert new.track_id == 1


class TestCrossing:
    @pytest.mark.parametrize("size", [(80, 80), (90, 70), (70, 90)])
    @pytest.mark.parametrize("noise", [0.0, 1.0])
    def test_two_crossing_faces_keep_their_ids(self, size, noise):
        people = (
            Person(lambda t: (80 + 48 * t, 180, size[0]), 1),
            Person(lambda t: (560 - 48 * t, 190, size[1]), 2),
        )
        world = World(*people, noise=noise)
        seen = play(world, 300, detect_every=10)
        ids = {identity: track for track, identity in seen[0].items()}
        for number, frame in enumerate(seen):
            for track, identity in frame.items():
                assert ids[identity] == track, f"swapped in frame {number}"
        assert sum(len(frame) == 2 for frame in seen) > 260
        assert seen[-1] == seen[0]


class TestRobustness:
    def test_no_face_at_all(self):
        world = World()
        assert play(world, 20) == [{}] * 20
        assert world.detections == 20

    def test_no_face_in_the_first_frames(self):
        seen = play(World(Person(lambda t: (100, 180, 80) if t > 0.5 else None, 1)), 40)
        assert seen[0] == {}
        assert seen[16] == {0: 1}

    def test_a_cut_ends_old_tracks_and_starts_new_ones_in_the_same_frame(self):
        world = World(Person(lambda t: (100, 180, 80) if t < 1 else (400, 150, 90), 1))
        tracker = Tracker(world, smooth="none", detect_every=1000)
        ids = [{f.track_id for f in tracker(world.frame(n, scene=0 if n < 30 else 7))} for n in range(60)]
        assert ids[29] == {0}
        assert all(frame == {1} for frame in ids[30:])

    def test_frames_of_changing_size(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        for number, size in enumerate([(360, 640), (720, 1280), (360, 640), (40, 40), (360, 640)]):
            assert len(tracker(world.frame(number, size))) == (1 if size != (40, 40) else 0)

    def test_uniform_frames_are_not_cuts(self):
        tracker = Tracker(World(Person(still(100), 1)), smooth="none", detect_every=1000)
        dark = np.zeros((360, 640, 3), np.uint8)
        assert [{f.track_id for f in tracker(dark)} for _ in range(5)] == [{0}] * 5

    def test_reset_starts_from_id_0(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        tracker(world.frame(0))
        tracker.reset()
        assert [face.track_id for face in tracker(world.frame(1))] == [0]
        assert world.detections == 2

    def test_frames_a_moment_apart_lose_no_track(self):
        world = World(Person(lambda t: (100 + 60 * t, 180, 80), 1), noise=1.0)
        tracker = Tracker(world, smooth="none", detect_every=1000)
        for number in range(60):
            # every second frame comes 0.3 ms after the one before it
            faces = tracker(world.frame(number), number // 2 / 15 + 0.0003 * (number % 2))
            assert [face.track_id for face in faces] == [0]
        assert world.detections == 1

    def test_a_large_false_detection_keeps_no_face_out(self):
        world = World(Person(still(100), 1))
        detector = world.detector

        def with_a_false_one(image):
            detections = detector(image)
            return Detections(np.vstack([detections.xyxy, [[350, 60, 600, 310]]]), np.append(detections.scores, 0.6))

        world.detector = with_a_false_one
        assert all(frame == {0: 1} for frame in play(world, 20, max_faces=1))

    def test_time_that_repeats_or_decreases(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        for time in (1.0, 1.0, 0.5, 2.0):
            assert [face.track_id for face in tracker(world.frame(0), time)] == [0]

    def test_a_lost_face_is_forgotten_when_another_video_begins(self):
        world = World(Person(lambda t: None if 1 <= t < 2 else (100, 180, 80), 1))
        for later, track in ((61.0, 0), (80.0, 1), (20.0, 1)):
            tracker = Tracker(world, smooth="none")
            assert [face.track_id for face in tracker(world.frame(0), 60.0)] == [0]
            assert tracker(world.frame(30), 60.1) == []
            assert [face.track_id for face in tracker(world.frame(60), later)] == [track], later

    @pytest.mark.parametrize(("times", "least"), [((5.0, 5.0, 5.0), 0.3), ((5.0, 5.04, 0.0), 0.9)])
    def test_smoothing_follows_a_face_at_a_repeated_time_and_in_another_video(self, aligner, astronaut, times, least):
        image = astronaut[30:260, 120:350]
        moved = np.roll(image, 8, axis=1)
        tracker = Tracker(aligner)
        for time in times[:2]:
            first = tracker(image, time)
        (face,) = tracker(moved, times[2])
        (alone,) = aligner(moved)
        went, whole = ((each.landmarks - first[0].landmarks)[:, 0].mean() for each in (face, alone))
        assert least < went / whole < 1.1

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"smooth": "kalman"}, "smooth"), ({"detect_every": 0}, "detect_every"),
            ({"max_faces": 0}, "max_faces"), ({"n_pre": -1}, "n_pre"), ({"remember": float("nan")}, "remember"),
        ],
    )  # fmt: skip
    def test_bad_arguments_are_named(self, options, name):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            Tracker(World(), **options)

    def test_bad_frames_are_named(self):
        with pytest.raises(TypeError, match="frame: expected"):
            Tracker(World())("frame.jpg")
        with pytest.raises(ValueError, match="frame: expected shape"):
            Tracker(World())(np.zeros((5, 5), np.uint8))


class TestLookahead:
    def reference(self, tracks, n_pre, n_next):
        """3DDFA_V2's queue: the first frame repeated n_pre times, the last n_next times, a plain mean."""
        queue = [tracks[0]] * n_pre + list(tracks) + [tracks[-1]] * n_next
        count = n_pre + 1 + n_next
        return [np.mean(queue[i : i + count], axis=0) for i in range(len(tracks))]

    @pytest.mark.parametrize("frames", [1, 2, 3, 20])
    @pytest.mark.parametrize("window", [(1, 1), (0, 0), (2, 0), (0, 3), (4, 2)])
    def test_equals_the_mean_of_3ddfa_v2_at_the_ends_too(self, frames, window):
        def world():
            return World(Person(lambda t: (100 + 90 * t, 180, 80 + 20 * t), 1), noise=1.0)

        w = world()
        tracker = Tracker(w, smooth="none")
        raw = [tracker(w.frame(n))[0].landmarks for n in range(frames)]
        w = world()
        smooth = Tracker(w, smooth="lookahead", n_pre=window[0], n_next=window[1])
        images = [w.frame(n) for n in range(frames)]
        out = list(smooth.run(iter(images)))
        assert [id(frame) for frame, _ in out] == [id(image) for image in images]
        for (_, faces), expected in zip(out, self.reference(raw, *window), strict=True):
            np.testing.assert_allclose(faces[0].landmarks, expected, atol=1e-4)

    def test_a_face_that_comes_and_goes_is_averaged_over_its_own_frames(self):
        def world():
            return World(Person(lambda t: (100, 180, 80) if 0.2 < t < 0.5 else None, 1), noise=1.0)

        w = world()
        tracker = Tracker(w, smooth="none")
        raw = [faces[0].landmarks for n in range(30) if (faces := tracker(w.frame(n)))]
        out = [faces for _, faces in Tracker(world(), smooth="lookahead").run(w.frame(n) for n in range(30))]
        assert {len(faces) for faces in out} == {0, 1}
        smooth = [faces[0].landmarks for faces in out if faces]
        np.testing.assert_allclose(smooth, self.reference(raw, 1, 1), atol=1e-4)

    def test_the_delay_is_n_next_frames(self):
        world = World(Person(still(100), 1))
        taken = []

        def source():
            for number in range(10):
                taken.append(number)
                yield world.frame(number)

        run = Tracker(world, smooth="lookahead", n_pre=1, n_next=2).run(source())
        next(run)
        assert len(taken) == 3

    def test_a_single_call_is_refused(self):
        world = World()
        with pytest.raises(ValueError, match="lookahead needs later frames"):
            Tracker(world, smooth="lookahead")(world.frame(0))

    def test_no_frames(self):
        assert list(Tracker(World(), smooth="lookahead").run([])) == []


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("time", "error"), [(np.inf, ValueError), (-np.inf, ValueError), (np.nan, ValueError), ("1", TypeError)]
    )
    @pytest.mark.parametrize("frames", [0, 2])
    def test_a_wrong_time_changes_nothing(self, time, error, frames):
        worlds = World(Person(still(100), 1)), World(Person(still(100), 1))
        tracker, expected = (Tracker(world) for world in worlds)
        for number in range(frames):
            for each, world in zip((tracker, expected), worlds, strict=True):
                each(world.frame(number), number / 25)
        with pytest.raises(error, match=r"^time: expected"):
            tracker(worlds[0].frame(frames), time)
        (face,), (other,) = (
            each(world.frame(frames), frames / 25) for each, world in zip((tracker, expected), worlds, strict=True)
        )
        assert face.track_id == 0
        np.testing.assert_array_equal(face.landmarks, other.landmarks)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"max_faces": 1.5}, "max_faces: expected a whole number, got 1.5"),
            ({"detect_every": "2"}, "detect_every: expected a whole number, got '2'"),
            ({"n_pre": 1.5, "smooth": "lookahead"}, "n_pre: expected a whole number"),
            ({"remember": None}, "remember: expected a number, got None"),
            ({"settings": {}}, "settings: expected TrackerSettings, got dict"),
        ],
    )
    def test_types_are_named(self, arguments, message):
        with pytest.raises(TypeError, match=message):
            Tracker(World(), **arguments)
        with pytest.raises(TypeError, match="aligner: expected an Aligner, got NoneType"):
            Tracker(None)


class TestRealFrames:
    def test_a_sliding_photo_is_smoothed(self, aligner, astronaut, rng):
        # with the noise of a camera: without it there is nothing to smooth
        noise = rng.normal(0, 4, (25, *astronaut.shape))
        frames = [np.clip(np.roll(astronaut, 2 * k, axis=1) + noise[k], 0, 255).astype(np.uint8) for k in range(25)]
        for smooth in ("none", "one_euro", "lookahead"):
            tracker = Tracker(aligner, smooth=smooth)
            out = list(tracker.run(frames))
            assert [[face.track_id for face in faces] for _, faces in out] == [[0]] * 25
            x = np.array([faces[0].landmarks[:, 0].mean() for _, faces in out])
            np.testing.assert_allclose(np.diff(x)[3:-3], 2, atol=1.2)
            if smooth != "none":
                assert tracker.jitter_after.value < 0.8 * tracker.jitter_before.value

    def test_an_aligner_without_a_detector_is_refused(self, aligner):
        without = Aligner(aligner.regressor, aligner.decoder)
        with pytest.raises(ValueError, match="aligner: expected an Aligner with a detector, got one without"):
            Tracker(without)

    def test_the_roi_follows_the_face(self, aligner, astronaut):
        tracker = Tracker(aligner, smooth="none")
        tracker(astronaut)
        (face,) = tracker(astronaut)
        assert isinstance(face.roi, Roi)
        middle = (face.landmarks.min(axis=0) + face.landmarks.max(axis=0))[:2] / 2
        np.testing.assert_allclose(
            (face.roi.left + face.roi.side / 2, face.roi.top + face.roi.side / 2), middle, atol=4
        )


class Resizable(World):
    """A world whose frames may be scaled down: the number of the frame is not in its pixels."""

    def __init__(self, *people):
        super().__init__(*people)
        self.widths = []

    def frame(self, number, *args, **options):
        self.number = number
        return super().frame(number, *args, **options)

    def seen(self, image):
        scale = image.shape[1] / 640
        positions = [(person, person.path(self.number / FPS)) for person in self.people]
        return [(person, tuple(scale * np.array(at))) for person, at in positions if at is not None]

    def detector(self, image):
        self.widths.append(image.shape[1])
        return super().detector(image)


class TestDetectionOfLostFaces:
    def gone(self, x, size, first, last):
        return lambda t: None if first <= round(t * FPS) <= last else (x, 180, size)

    def test_runs_on_a_frame_as_small_as_the_faces_allow(self):
        world = Resizable(Person(still(150, size=160), 1), Person(self.gone(450, 200, 20, 49), 2))
        ids = play(world, 70)
        assert ids[60] == ids[0]
        (small,) = {width for width in world.widths if width != 640}
        assert 320 <= small < 350  # the smaller face, about 160 px, at 80 px
        # the whole frame is still searched every `detect_every` frames
        assert world.widths.count(640) >= 70 // 15

    def test_boxes_from_a_file_are_those_of_the_frame_at_its_own_size(self):
        world = Resizable(Person(still(150, size=160), 1), Person(self.gone(450, 200, 20, 49), 2))
        detect = world.detector
        world.detector = Detector(detect)
        assert not world.detector.needs_name
        detect_named = type("Named", (), {"needs_name": True, "__call__": lambda self, image, name: detect(image)})
        world.detector = Detector(detect_named())
        ids = play(world, 70)
        assert ids[60] == ids[0]
        assert set(world.widths) == {640}

    def test_runs_on_the_whole_frame_for_a_small_face(self):
        world = Resizable(Person(still(150, size=60), 1), Person(self.gone(450, 200, 20, 49), 2))
        play(world, 70)
        assert set(world.widths) == {640}

    def test_a_small_new_face_is_detected_while_a_large_one_is_lost(self):
        late = Person(lambda t: (320, 300, 30) if t * FPS > 25 else None, 3)
        world = Resizable(Person(still(150, size=160), 1), Person(self.gone(450, 200, 20, 99), 2), late)
        ids = play(world, 50)
        assert 3 in ids[45].values()

    def test_a_face_fading_as_it_leaves_does_not_change_its_size(self):
        class Fading(World):
            def align(self, image, roi):
                face = super().align(image, roi)
                number = int(image[0, 0, 1])
                if not 10 <= number < 13 or face.score < 0.5:
                    return face
                points = landmarks_at(300, 180, 80 * 0.7 ** (number - 9))
                return replace(face, score=0.8, landmarks=points)

        ids = play(Fading(Person(still(100), 1), Person(self.gone(300, 80, 13, 30), 2)), 50)
        assert ids[40] == ids[0]


class TestEmptyFrames:
    FALSE = np.array([[350, 60, 450, 160]], np.float32)

    def with_a_false_box(self, world, score=0.6):
        """Also detect a box that the regressor does not confirm; `score` may depend on the call."""
        detector = world.detector

        def both(image):
            found = detector(image)
            scores = np.append(found.scores, score(world.detections) if callable(score) else score)
            return Detections(np.vstack([found.xyxy, self.FALSE]), scores)

        world.detector = both
        return world

    def test_a_box_without_a_face_is_not_aligned_in_each_frame(self):
        world = self.with_a_false_box(World())
        assert play(world, 46) == [{}] * 46
        assert world.detections == 46
        assert world.calls == 4  # frames 0, 15, 30 and 45

    def test_with_detections_in_each_frame_it_is(self):
        world = self.with_a_false_box(World())
        play(world, 10, detect_every=1)
        assert world.calls == 10

    @pytest.mark.parametrize(("gain", "calls"), [(0.05, 1), (0.15, 2)])
    def test_a_box_with_a_higher_score_is_aligned(self, gain, calls):
        world = self.with_a_false_box(World(), lambda count: 0.5 + gain * (count > 5))
        play(world, 10)
        assert world.calls == calls

    def test_a_face_elsewhere_is_found_at_once(self):
        world = self.with_a_false_box(World(Person(lambda t: (100, 180, 80) if t > 0.2 else None, 1)))
        assert [number for number, faces in enumerate(play(world, 12)) if faces] == [7, 8, 9, 10, 11]

    def test_another_scene_is_searched_anew(self):
        world = self.with_a_false_box(World())
        tracker = Tracker(world, smooth="none")
        for number in range(10):
            tracker(world.frame(number, scene=7 if number >= 5 else 0))
        assert world.calls == 2

    def test_faces_at_any_roll_are_searched_less_and_less_often(self):
        searched = []

        class Rotating(World):
            def __call__(self, image, *, rois=None, boxes=None):
                if rois is None and boxes is None:
                    searched.append(int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]))
                    return []
                return super().__call__(image, rois=rois, boxes=boxes)

        world = Rotating(Person(lambda t: (100, 180, 80) if 12 < t < 12.5 else None, 1))
        world.rotations = "auto"
        play(world, 420)
        # after a face, it begins again
        assert searched == [0, 15, 45, 105, 165, 225, 285, 345, 375, 390]

    def test_large_frames_are_searched_at_their_size_once_in_a_while(self):
        world = Resizable()
        tracker = Tracker(world, smooth="none", settings=TrackerSettings(empty_area=50_000))
        for number in range(16):
            tracker(world.frame(number))
        assert [width for width in world.widths if width == 640] == [640] * 2  # the first frame, and 15 later
        height, width = (round(side * np.sqrt(50_000 / (640 * 360))) for side in (360, 640))
        assert world.widths[1] == width
        assert height * width == pytest.approx(50_000, rel=0.01)
