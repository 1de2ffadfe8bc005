"""The tracker in a world of its own: people who move as told, a detector and a regressor that see what is there."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa import Camera, CropRule, Face, Params, Roi
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_box, roi_from_landmarks
from tddfa.tracking.tracker import Tracker

RULE = CropRule(size=120, box_shift_y=0.0, box_scale=1.2, landmark_scale=1.25)
FPS = 30


def landmarks_at(x, y, size):
    """68 points on a disc of the size asked for."""
    angle = np.arange(68) * 2.4
    radius = np.sqrt(np.arange(68) / 67) / 2
    points = np.column_stack([x + size * radius * np.cos(angle), y + size * radius * np.sin(angle), np.zeros(68)])
    return points.astype(np.float32)


@dataclass
class Person:
    """Where somebody is at a time, or None; and who it is."""

    path: object
    identity: int = 0


class World:
    """Stands in for an `Aligner`. The picture's first pixels hold the frame's number."""

    def __init__(self, *people, noise=0.0, score=True):
        self.people, self.noise = people, noise
        self.crop, self.min_score = RULE, 0.95 if score else None
        self.rng = np.random.default_rng(0)
        self.calls = self.detections = 0
        self.face_model = SimpleNamespace()

    def picture(self, number, size=(360, 640), shade=None):
        # a scene of its own for each shade, so that a cut looks like one
        rng = np.random.default_rng(shade or 0)
        image = np.kron(rng.integers(0, 200, (size[0] // 40, size[1] // 40, 3)), np.ones((40, 40, 1))).astype(np.uint8)
        image[0, 0] = number // 256, number % 256, 0
        return image

    def seen(self, image):
        t = (int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])) / FPS
        places = [(person, person.path(t)) for person in self.people]
        # the larger one is in front
        return sorted(((p, at) for p, at in places if at is not None), key=lambda pair: -pair[1][2])

    def visible(self, image):
        """Those whose middle no one in front covers."""
        result = []
        for person, (x, y, size) in self.seen(image):
            hidden = any(abs(x - a) < 0.35 * s and abs(y - b) < 0.5 * s for _, (a, b, s) in result)
            if not hidden and -size / 4 < x < image.shape[1] + size / 4:
                result.append((person, (x, y, size)))
        return result

    def roi(self, face):
        return roi_from_landmarks(face.landmarks, RULE)

    def detector(self, image):
        self.detections += 1
        boxes = [(x - s / 2, y - s / 2, x + s / 2, y + s / 2) for _, (x, y, s) in self.visible(image)]
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9))

    def __call__(self, image, *, rois=None, boxes=None):
        if boxes is not None:
            rois = [roi_from_box(box, RULE) for box in boxes]
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
        points = landmarks_at(a, b, s) + self.rng.normal(0, self.noise, (68, 3)).astype(np.float32)
        shape = np.full(4, person.identity, np.float32)
        return Face(
            np.array([a - s / 2, b - s / 2, a + s / 2, b + s / 2]), score if self.min_score else 1.0, roi,
            Params(np.eye(3, 4), shape, np.zeros(2)), Camera(np.eye(3, 4)), points,
        )  # fmt: skip


def play(world, frames, **options):
    """Ids by frame, with the identity of whom they lie on."""
    tracker = Tracker(world, smooth="none", **options)
    result = []
    for number in range(frames):
        faces = tracker(world.picture(number))
        result.append({face.track_id: int(face.params.shape[0]) for face in faces})
    return result


def still(x, y=180, size=80):
    return lambda t: (x, y, size)


class TestFollowing:
    def test_one_person_keeps_one_id_and_the_detector_rests(self):
        world = World(Person(lambda t: (100 + 100 * t, 180, 80), 1), noise=0.5)
        seen = play(world, 120, detect_every=15)
        assert all(frame == {0: 1} for frame in seen)
        assert world.detections == 1 + 119 // 15
        assert world.calls == 120, "one network call a frame for all faces"

    def test_several_people_one_call_a_frame(self):
        world = World(Person(still(100), 1), Person(still(300), 2), Person(still(500), 3))
        seen = play(world, 60)
        assert all(frame == {0: seen[0][0], 1: seen[0][1], 2: seen[0][2]} for frame in seen)
        assert set(seen[0].values()) == {1, 2, 3}
        assert world.calls == 60

    def test_a_fast_one_is_followed_by_its_velocity(self):
        world = World(Person(lambda t: (50 + 900 * t, 180, 80), 1))  # 30 px a frame, more than a third of the face
        assert all(frame == {0: 1} for frame in play(world, 19, detect_every=1000))

    def test_a_new_face_is_picked_up_at_the_next_look(self):
        late = Person(lambda t: (500, 180, 80) if t > 1 else None, 2)
        seen = play(World(Person(still(100), 1), late), 60, detect_every=10)
        assert seen[30] == {0: 1}
        assert seen[41] == {0: 1, 1: 2}

    def test_max_faces(self):
        world = World(Person(still(100), 1), Person(still(300), 2), Person(still(500), 3))
        assert all(len(frame) == 2 for frame in play(world, 40, max_faces=2))

    def test_of_too_many_the_largest_are_followed(self):
        world = World(Person(still(100, size=50), 1), Person(still(300, size=90), 2), Person(still(500, size=70), 3))
        assert all(set(frame.values()) == {2, 3} for frame in play(world, 20, max_faces=2))

    def test_small_faces_are_kept(self):
        world = World(Person(lambda t: (100 + 30 * t, 180, 30), 1))  # 900 px squared
        assert all(frame == {0: 1} for frame in play(world, 60, detect_every=1000))
        assert world.detections == 1


class TestLosing:
    def test_who_goes_is_dropped_at_once(self):
        seen = play(World(Person(lambda t: (100, 180, 80) if t < 1 else None, 1)), 60)
        assert seen[29] == {0: 1}
        assert all(frame == {} for frame in seen[30:])

    def test_who_comes_back_soon_keeps_the_id(self):
        there = Person(lambda t: (100, 180, 80) if not 1 <= t < 1.8 else None, 1)
        seen = play(World(there), 90)
        assert seen[40] == {}
        assert seen[60] == {0: 1}

    def test_who_leaves_at_the_border_and_turns_back_keeps_the_id(self):
        leaving = Person(lambda t: (560 + 160 * np.sin(np.pi * t / 2), 180, 80), 1)
        seen = play(World(leaving), 75)
        assert {} in seen
        assert seen[0] == seen[-1] == {0: 1}

    def test_who_comes_back_late_is_somebody_new(self):
        there = Person(lambda t: (100, 180, 80) if not 1 <= t < 4.5 else None, 1)
        assert play(World(there), 150, remember=2.0)[-1] == {1: 1}

    def test_another_one_elsewhere_is_somebody_new(self):
        first = Person(lambda t: (80, 180, 60) if t < 1 else None, 1)
        second = Person(lambda t: (560, 180, 60) if t >= 1.2 else None, 2)
        assert play(World(first, second), 60)[-1] == {1: 2}

    def test_a_model_without_a_score_goes_by_the_detector(self):
        world = World(Person(lambda t: (100, 180, 80) if t < 1 else None, 1), score=False)
        seen = play(world, 90, detect_every=5)
        assert seen[29] == {0: 1}
        assert seen[-1] == {}


class TestCrossing:
    @pytest.mark.parametrize("size", [(80, 80), (90, 70), (70, 90)])
    @pytest.mark.parametrize("noise", [0.0, 1.0])
    def test_two_who_cross_do_not_swap(self, size, noise):
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
    def test_nobody_at_all(self):
        world = World()
        assert play(world, 20) == [{}] * 20
        assert world.detections == 20

    def test_nobody_in_the_first_frames(self):
        seen = play(World(Person(lambda t: (100, 180, 80) if t > 0.5 else None, 1)), 40)
        assert seen[0] == {}
        assert seen[16] == {0: 1}

    def test_a_cut_ends_the_old_and_finds_the_new_in_the_same_frame(self):
        world = World(Person(lambda t: (100, 180, 80) if t < 1 else (400, 150, 90), 1))
        tracker = Tracker(world, smooth="none", detect_every=1000)
        ids = [{f.track_id for f in tracker(world.picture(n, shade=0 if n < 30 else 7))} for n in range(60)]
        assert ids[29] == {0}
        assert all(frame == {1} for frame in ids[30:])

    def test_frames_of_changing_size(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        for number, size in enumerate([(360, 640), (720, 1280), (360, 640), (40, 40), (360, 640)]):
            assert len(tracker(world.picture(number, size))) == (1 if size != (40, 40) else 0)

    def test_plain_pictures_are_no_cuts(self):
        tracker = Tracker(World(Person(still(100), 1)), smooth="none", detect_every=1000)
        dark = np.zeros((360, 640, 3), np.uint8)
        assert [{f.track_id for f in tracker(dark)} for _ in range(5)] == [{0}] * 5

    def test_reset_forgets(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        tracker(world.picture(0))
        tracker.reset()
        assert [face.track_id for face in tracker(world.picture(1))] == [0]
        assert world.detections == 2

    def test_frames_a_moment_apart_throw_nobody_away(self):
        world = World(Person(lambda t: (100 + 60 * t, 180, 80), 1), noise=1.0)
        tracker = Tracker(world, smooth="none", detect_every=1000)
        for number in range(60):
            # every second frame comes 0.3 ms after the one before it
            faces = tracker(world.picture(number), number // 2 / 15 + 0.0003 * (number % 2))
            assert [face.track_id for face in faces] == [0]
        assert world.detections == 1

    def test_a_large_false_box_keeps_nobody_out(self):
        world = World(Person(still(100), 1))
        detector = world.detector

        def with_a_false_one(image):
            found = detector(image)
            return Detections(np.vstack([found.xyxy, [[350, 60, 600, 310]]]), np.append(found.scores, 0.6))

        world.detector = with_a_false_one
        assert all(frame == {0: 1} for frame in play(world, 20, max_faces=1))

    def test_time_that_stands_still_or_runs_back(self):
        world = World(Person(still(100), 1))
        tracker = Tracker(world, smooth="none")
        for time in (1.0, 1.0, 0.5, 2.0):
            assert [face.track_id for face in tracker(world.picture(0), time)] == [0]

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
        """3DDFA_V2's queue: the first frame n_pre times more, the last n_next times more, a plain mean."""
        queue = [tracks[0]] * n_pre + list(tracks) + [tracks[-1]] * n_next
        count = n_pre + 1 + n_next
        return [np.mean(queue[i : i + count], axis=0) for i in range(len(tracks))]

    @pytest.mark.parametrize("frames", [1, 2, 3, 20])
    @pytest.mark.parametrize("window", [(1, 1), (0, 0), (2, 0), (0, 3), (4, 2)])
    def test_equals_the_scheme_first_and_last_frames_included(self, frames, window):
        def world():
            return World(Person(lambda t: (100 + 90 * t, 180, 80), 1), noise=1.0)

        raw_world = world()
        raw = [Tracker.__call__(t, raw_world.picture(n))[0].landmarks for t in [Tracker(raw_world, smooth="none")] for n in range(frames)]  # fmt: skip
        w = world()
        smooth = Tracker(w, smooth="lookahead", n_pre=window[0], n_next=window[1])
        pictures = [w.picture(n) for n in range(frames)]
        out = list(smooth.run(iter(pictures)))
        assert [id(frame) for frame, _ in out] == [id(picture) for picture in pictures]
        for (_, faces), expected in zip(out, self.reference(raw, *window), strict=True):
            np.testing.assert_allclose(faces[0].landmarks, expected, atol=1e-4)

    def test_a_face_that_comes_and_goes_is_averaged_over_its_own_frames(self):
        world = World(Person(lambda t: (100, 180, 80) if 0.2 < t < 0.5 else None, 1), noise=1.0)
        out = list(Tracker(world, smooth="lookahead").run(world.picture(n) for n in range(30)))
        lengths = [len(faces) for _, faces in out]
        assert 0 in lengths
        assert 1 in lengths
        for _, faces in out:
            for face in faces:
                assert len(face.mean_of) == 3

    def test_it_is_as_many_frames_behind_as_it_looks_ahead(self):
        world = World(Person(still(100), 1))
        taken = []

        def pictures():
            for number in range(10):
                taken.append(number)
                yield world.picture(number)

        run = Tracker(world, smooth="lookahead", n_pre=1, n_next=2).run(pictures())
        next(run)
        assert len(taken) == 3

    def test_a_single_call_cannot_look_ahead(self):
        world = World()
        with pytest.raises(ValueError, match="lookahead needs later frames"):
            Tracker(world, smooth="lookahead")(world.picture(0))

    def test_no_frames(self):
        assert list(Tracker(World(), smooth="lookahead").run([])) == []

    def test_the_mesh_is_the_mean_of_the_meshes(self, aligner, astronaut):
        (face,) = aligner(astronaut)
        shifted = replace(face, camera=Camera(face.camera.matrix + np.eye(3, 4, 3) * 30))
        from tddfa.tracking.smoothing import mean_of

        mesh = aligner.mesh(mean_of([face, face, shifted], face))
        expected = (2 * aligner.mesh(face).vertices + aligner.mesh(shifted).vertices) / 3
        np.testing.assert_allclose(mesh.vertices, expected, atol=1e-3)


class TestRealFrames:
    def test_a_photo_that_slides_and_its_smoothing(self, aligner, astronaut, rng):
        # with a camera's noise: without it there is next to nothing to smooth
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

    def test_it_takes_an_aligner_with_a_detector(self, aligner):
        without = Aligner(aligner.regressor, aligner.face_model, aligner.crop)
        with pytest.raises(ValueError, match="aligner: expected one with a detector"):
            Tracker(without)

    def test_rois_follow_the_face(self, aligner, astronaut):
        tracker = Tracker(aligner, smooth="none")
        tracker(astronaut)
        (face,) = tracker(astronaut)
        assert isinstance(face.roi, Roi)
        middle = (face.landmarks.min(axis=0) + face.landmarks.max(axis=0))[:2] / 2
        np.testing.assert_allclose(
            (face.roi.left + face.roi.side / 2, face.roi.top + face.roi.side / 2), middle, atol=4
        )


class Resizable(World):
    """A world whose pictures may be shrunk: the frame's number is told apart from them."""

    def __init__(self, *people):
        super().__init__(*people)
        self.widths = []

    def picture(self, number, *args, **options):
        self.number = number
        return super().picture(number, *args, **options)

    def seen(self, image):
        scale = image.shape[1] / 640
        places = [(person, person.path(self.number / FPS)) for person in self.people]
        return [(person, tuple(scale * np.array(at))) for person, at in places if at is not None]

    def detector(self, image):
        self.widths.append(image.shape[1])
        return super().detector(image)


class TestMissing:
    def gone(self, x, size, first, last):
        return lambda t: None if first <= round(t * FPS) <= last else (x, 180, size)

    def test_is_looked_for_in_a_picture_as_small_as_the_faces_allow(self):
        world = Resizable(Person(still(150, size=160), 1), Person(self.gone(450, 200, 20, 49), 2))
        ids = play(world, 70)
        assert ids[60] == ids[0]
        (small,) = {width for width in world.widths if width != 640}
        assert 320 <= small < 350  # the smaller face, about 160 px, at 80 px
        # the whole picture is looked at all the while, too
        assert world.widths.count(640) >= 70 // 15

    def test_who_is_small_is_looked_for_in_the_whole(self):
        world = Resizable(Person(still(150, size=60), 1), Person(self.gone(450, 200, 20, 49), 2))
        play(world, 70)
        assert set(world.widths) == {640}

    def test_a_new_one_who_is_small_is_found_while_a_large_one_is_missing(self):
        late = Person(lambda t: (320, 300, 30) if t * FPS > 25 else None, 3)
        world = Resizable(Person(still(150, size=160), 1), Person(self.gone(450, 200, 20, 99), 2), late)
        ids = play(world, 50)
        assert 3 in ids[45].values()

    def test_what_a_face_comes_to_as_it_leaves_is_no_measure_of_its_size(self):
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
