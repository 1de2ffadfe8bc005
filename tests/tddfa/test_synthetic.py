import itertools
import re

import cv2
import numpy as np
import pytest

from tddfa import Camera
from tddfa.synthetic import SCENES, Head, Scene, State, backdrop, degrade, frames, render
from tddfa.synthetic.__main__ import main
from tddfa.synthetic.render import expression_weights

RIGHT_EYE, LEFT_EYE = range(36, 42), range(42, 48)
SMALL = (180, 320)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def head(aligner, astronaut):
    return Head.from_photo(astronaut, aligner, size=256)


@pytest.fixture(scope="module")
def other(model):
    return Head.procedural(model, seed=1)


@pytest.fixture(scope="module")
def wall():
    image = backdrop((400, 480), seed=3)
    image.setflags(write=False)
    return image


def openness(landmarks, eye):
    """EAR: height over width of the opening of the lids."""
    p = landmarks[list(eye), :2]
    heights = np.linalg.norm(p[1] - p[5]) + np.linalg.norm(p[2] - p[4])
    return heights / (2 * np.linalg.norm(p[0] - p[3]))


def error(predicted, target):
    """Mean distance of the landmarks, % of the face's size."""
    distance = np.linalg.norm(predicted.landmarks[:, :2] - target.landmarks[:, :2], axis=1).mean()
    return 100 * distance / np.sqrt(np.prod(target.box[2:] - target.box[:2]))


def aligned(aligner, image, target):
    """The only detected face, checked to be at the position of the target."""
    faces = aligner(image)
    assert len(faces) == 1
    assert np.all(np.abs(faces[0].landmarks.mean(axis=0)[:2] - target.landmarks.mean(axis=0)[:2]) < 12)
    return faces[0]


@pytest.mark.parametrize("who", ["head", "other"])
def test_a_rendered_head_is_predicted_at_its_pose(request, aligner, wall, who):
    head = request.getfixturevalue(who)
    errors, angles = [], []
    for yaw, pitch, roll in [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 15, 0), (0, -20, 0), (0, 0, 25), (20, -10, -15)]:
        image, (target,) = render(wall.shape[:2], [(head, State(yaw, pitch, roll, 150, 240, 190))], wall)
        assert target.camera.euler_degrees() == pytest.approx((yaw, pitch, roll), abs=1e-3)
        assert target.visible == 1
        face = aligned(aligner, image, target)
        assert face.score > 0.95
        errors.append(error(face, target))
        angles.append(np.abs(np.subtract(face.camera.euler_degrees(), (yaw, pitch, roll))))
    assert np.mean(errors) < 3.5
    assert max(errors) < 6
    assert np.mean(angles, axis=0) == pytest.approx(0, abs=5)
    assert np.max(angles) < 12


def test_faces_are_detected_at_many_poses_and_sizes(aligner, head, other, wall):
    rng = np.random.default_rng(0)
    found = []
    for index in range(40):
        yaw, pitch, roll = rng.uniform(-1, 1, 3) * (45, 20, 25)
        state = State(yaw, pitch, roll, np.exp(rng.uniform(np.log(60), np.log(240))), 240, 180)
        image, (target,) = render(wall.shape[:2], [((head, other)[index % 2], state)], wall)
        detections = aligner.detector(degrade(image, rng, noise=2))
        centre = (target.box[:2] + target.box[2:]) / 2
        boxes = detections.xyxy[detections.scores > 0.5]
        inside = (boxes[:, :2] < centre).all(axis=1) & (boxes[:, 2:] > centre).all(axis=1)
        found.append(inside.sum() == 1)
    assert np.mean(found) >= 0.95


def test_the_ground_truth_comes_from_the_face_model(model, other):
    state = State(20, -5, 10, 120, 150, 140, {"jawOpen": 0.5, "eyeBlink": 0.25})
    _, (target,) = render((300, 300), [(other, state)])
    assert target.camera.matrix[:2, 3] == pytest.approx((150, 140))
    landmarks = target.camera.project(model.landmarks(other.shape, target.expression))
    np.testing.assert_allclose(target.landmarks, landmarks, atol=1e-3)
    weights = dict(zip(model.expression_names, target.expression.tolist(), strict=True))
    assert weights.pop("jawOpen") == 0.5
    assert weights.pop("eyeBlinkLeft") == weights.pop("eyeBlinkRight") == 0.25
    assert not any(weights.values())


def test_size_is_that_of_the_mean_face(model):
    plain = Head(model, np.zeros(model.shape_count), np.full((64, 64, 3), 150, np.uint8))
    for yaw in (0, 70):
        _, (target,) = render((300, 300), [(plain, State(yaw=yaw, size=130, x=150, y=150))])
        frontal = Camera.from_pose(0, 0, 0, target.camera.scale)
        mean = frontal.project(model.landmarks(plain.shape, target.expression * 0))
        assert np.ptp(mean[:, :2], axis=0).max() == pytest.approx(130, abs=0.01)


def test_the_face_is_rendered_at_its_landmarks(model, aligner):
    """A texture that is white on the lips only shows their position in the image."""
    sheet = np.zeros((256, 256, 3), np.uint8)
    at = model.uv[model.regions["lips"]]
    for u, v in at:
        cv2.circle(sheet, (round(float(u) * 256 - 0.5), round((1 - float(v)) * 256 - 0.5)), 1, (255, 255, 255), -1)
    marked = Head(model, np.zeros(model.shape_count), sheet, (0, 0, 0), (0, 0, 0), (0, 0, 0))
    for yaw in (0, 25, -25):
        image, (target,) = render(
            (400, 400), [(marked, State(yaw=yaw, size=250, x=200, y=200))], np.zeros((400, 400, 3), np.uint8)
        )
        rows, columns = np.nonzero(image[..., 0] > 90)
        lips = target.landmarks[48:60]
        assert abs(rows.mean() - lips[:, 1].mean()) < 6
        assert abs(columns.mean() - lips[:, 0].mean()) < 6


def test_closed_eyes_are_closed_in_ground_truth_and_image(aligner, head, other, wall):
    for who in (head, other):
        targets, faces = [], []
        for weight in (0.0, 1.0):
            state = State(size=200, x=240, y=190, expression={"eyeBlink": weight})
            image, (target,) = render(wall.shape[:2], [(who, state)], wall)
            targets.append(target.landmarks)
            faces.append(aligned(aligner, image, target).landmarks)
        for eye in (LEFT_EYE, RIGHT_EYE):
            assert openness(targets[1], eye) < 0.5 * openness(targets[0], eye)
            assert openness(faces[1], eye) < 0.85 * openness(faces[0], eye)


def test_a_wink_closes_one_eye(other):
    _, (target,) = render((300, 300), [(other, State(size=150, x=150, y=150, expression={"eyeBlinkLeft": 1.0}))])
    assert openness(target.landmarks, LEFT_EYE) < 0.5 * openness(target.landmarks, RIGHT_EYE)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_hides_the_farther(model, order):
    flat = np.zeros(model.shape_count)
    red = Head(model, flat, np.full((64, 64, 3), (0, 0, 200), np.uint8), *[(0, 0, 200)] * 3)
    blue = Head(model, flat, np.full((64, 64, 3), (200, 0, 0), np.uint8), *[(200, 0, 0)] * 3)
    pairs = [(red, State(size=120, x=150, y=120)), (blue, State(size=60, x=150, y=120))]
    image, targets = render((300, 300), [pairs[k] for k in order])
    near, far = targets[order.index(0)], targets[order.index(1)]
    x, y = np.rint(far.landmarks[30, :2]).astype(int)
    assert image[y, x, 2] > 90
    assert image[y, x, 0] < 60
    assert (near.visible, far.visible) == (1, 0)

    pairs[1] = (blue, State(size=60, x=196, y=120))
    image, targets = render((300, 300), [pairs[k] for k in order], shoulders=False)
    assert targets[order.index(0)].visible == 1
    assert 0.05 < targets[order.index(1)].visible < 0.95
    assert ((image[..., 0] > 90) & (image[..., 2] < 30)).any()  # some of the blue one is seen


@pytest.mark.parametrize("supersample", [1, 2, None])
def test_outlines_are_soft(model, supersample):
    white = Head(model, np.zeros(model.shape_count), np.full((64, 64, 3), 255, np.uint8), *[(255, 255, 255)] * 3)
    lamp = {"ambient": 3.0, "directional": 0.0, "specular": 0.0}  # so much that all but the outline is white
    image, _ = render(
        (300, 300),
        [(white, State(roll=7, size=100, x=150, y=140))],
        np.zeros((300, 300, 3), np.uint8),
        light=lamp,
        shoulders=False,
        supersample=supersample,
    )
    grey = (image[..., 0] > 20) & (image[..., 0] < 235)
    assert grey.sum() > 150
    # grey is at the outline, and where the dark behind mouth and lids shows
    outside = cv2.distanceTransform((image[..., 0] > 0).view(np.uint8), cv2.DIST_L2, 3)
    assert (outside[grey] < 2.5).mean() > 0.6


def test_light_has_its_direction(other):
    state = [(other, State(size=150, x=150, y=150))]
    left, right = (
        render((300, 300), state, light={"light_direction": (x, 0, 0.3)}, shoulders=False)[0] for x in (-1, 1)
    )
    assert left[100:200, 90:140].mean() > right[100:200, 90:140].mean() + 15
    assert right[100:200, 160:210].mean() > left[100:200, 160:210].mean() + 15


@pytest.mark.parametrize("x", [-80, 0, 300, 380, 5000, -1e7])
@pytest.mark.parametrize("y", [-300, 0, 290, 1e9])
def test_heads_may_be_outside_of_the_image(other, x, y):
    image, (target,) = render((300, 300), [(other, State(yaw=30, size=120, x=x, y=y))])
    assert image.shape == (300, 300, 3)
    assert 0 <= target.visible < 1
    assert np.isfinite(target.landmarks).all()
    if abs(x) > 1000 or abs(y) > 1000:
        assert target.visible == 0
        assert (image == 128).all()


def test_half_a_face_at_the_border_is_half_visible(other):
    _, (target,) = render((300, 300), [(other, State(size=120, x=0, y=150))])
    assert target.visible == pytest.approx(0.5, abs=0.05)


def test_tiny_and_huge_heads(other):
    for size in (0.01, 1, 6, 3000):
        image, (target,) = render((100, 120), [(other, State(size=size, x=60, y=50))])
        assert image.shape == (100, 120, 3)
        assert 0 <= target.visible <= 1


def test_the_image_is_plain_and_arguments_are_not_changed(other, wall):
    before = wall.copy()
    state = State(size=100, x=200, y=200)
    image, targets = render(wall.shape[:2], [(other, state), (other, State(visible=False))], wall)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous and image.flags.writeable
    assert targets[1] is None
    assert not np.shares_memory(image, wall)
    np.testing.assert_array_equal(wall, before)
    image, none = render((20, 30), [])
    assert none == []
    assert (image == 128).all()


def test_a_head_seen_from_behind_shows_no_face(aligner, other, wall):
    image, _ = render(wall.shape[:2], [(other, State(yaw=180, size=150, x=240, y=190))], wall)
    assert aligner(image) == []


def test_the_same_seed_gives_the_same_head(model):
    one, same, another = (Head.procedural(model, seed, size=64) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.texture, same.texture)
    np.testing.assert_array_equal(one.shape, same.shape)
    assert (one.hair, one.skin, one.clothes) == (same.hair, same.skin, same.clothes)
    assert not np.array_equal(one.shape, another.shape)


def test_degrading(wall, rng):
    for options in ({"noise": 4}, {"blur": 2}, {"jpeg": 20}, {"noise": 2, "blur": 1, "jpeg": 80}):
        worse = degrade(wall, np.random.default_rng(1), **options)
        assert worse.shape == wall.shape
        assert worse.dtype == np.uint8
        assert worse.flags.c_contiguous
        assert 0 < np.abs(worse.astype(int) - wall).mean() < 12
        np.testing.assert_array_equal(worse, degrade(wall, np.random.default_rng(1), **options))
    np.testing.assert_array_equal(degrade(wall, rng), wall)
    assert (degrade(wall, rng, noise=4).astype(float) - wall).std() == pytest.approx(4, rel=0.05)


def play(name, count, fps, heads, size=SMALL, **options):
    played = list(frames(name, count, size, fps, heads=heads, **options))
    return [image for image, _ in played], [targets for _, targets in played]


@pytest.fixture(scope="module")
def cast(head, other):
    return [head, other, head]


@pytest.mark.parametrize("name", SCENES)
def test_scenes_have_ground_truth_and_are_reproducible(cast, name):
    images, targets = play(name, 5, 1.3, cast, seed=2)
    again, _ = play(name, 5, 1.3, cast, seed=2)
    for image, same, people in zip(images, again, targets, strict=True):
        assert image.shape == (*SMALL, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert len(people) == SCENES[name].people
        np.testing.assert_array_equal(image, same)
    assert not np.array_equal(images[0], images[1])


def test_another_seed_gives_another_image(cast):
    (first,), _ = play("turn", 1, 30, cast, seed=0)
    (second,), _ = play("turn", 1, 30, cast, seed=1)
    assert np.abs(first.astype(int) - second).mean() > 5


@pytest.mark.parametrize("name", SCENES)
def test_scenes_move_smoothly_and_within_the_limits_of_the_model(model, name):
    """At 30 frames per second no head jumps, except at a cut."""
    scene, size = SCENES[name], (720, 1280)
    times = np.arange(0, 21, 1 / 30)
    for before, after in itertools.pairwise(times):
        for old, new in zip(scene.states(before, size), scene.states(after, size), strict=True):
            expression_weights(model, new.expression)
            if scene.shot(before) == scene.shot(after):
                assert np.hypot(new.x - old.x, new.y - old.y) < 16
                assert max(abs(new.yaw - old.yaw), abs(new.pitch - old.pitch), abs(new.roll - old.roll)) < 3
                assert abs(np.log(new.size / old.size)) < 0.05
                assert new.visible == old.visible


def test_crossing(cast):
    """The two change sides. The first hides the second while they cross, and both are visible before and after."""
    _, targets = play("crossing", 21, 2, cast)
    x = np.array([[target.landmarks[:, 0].mean() for target in people] for people in targets])
    visible = np.array([[target.visible for target in people] for people in targets])
    side = np.sign(x[:, 0] - x[:, 1])
    assert side[0] == -1
    assert side[-1] == 1
    assert np.count_nonzero(np.diff(side)) == 1
    assert (visible[[0, -1]] == 1).all()
    assert (visible[:, 0] == 1).all()
    assert visible[:, 1].min() == 0


def test_leaving(cast):
    _, targets = play("leaving", 31, 3, cast)
    visible = np.array([[target.visible for target in people] for people in targets])
    assert (visible[:, 1] == 1).all()
    assert (visible[[0, -1], 0] == 1).all()
    assert 5 <= (visible[:, 0] == 0).sum() <= 12
    assert ((visible[:, 0] > 0) & (visible[:, 0] < 1)).any()


def test_cut(cast):
    images, targets = play("cut", 33, 4, cast)
    change = np.array([np.abs(b.astype(int) - a).mean() for a, b in itertools.pairwise(images)])
    there = np.array([[target is not None for target in people] for people in targets])
    cuts = np.flatnonzero(there[1:, 0] != there[:-1, 0])
    assert cuts.tolist() == [15, 31]
    assert change[cuts].min() > 3 * np.delete(change, cuts).max()
    assert (there[:, 0] != there[:, 1]).all()
    assert (there[:, 1] == there[:, 2]).all()


def test_blinking_and_talking(cast):
    _, targets = play("blinking", 80, 10, cast, size=(45, 80))
    landmarks = [people[0].landmarks for people in targets]
    left, right = (np.array([openness(points, eye) for points in landmarks]) for eye in (LEFT_EYE, RIGHT_EYE))
    closed_left, closed_right = left < 0.5 * np.median(left), right < 0.5 * np.median(right)
    assert (closed_left & closed_right).any()
    assert (closed_left & ~closed_right).any()
    assert 0.02 < closed_left.mean() < 0.25
    _, targets = play("talking", 40, 10, cast)
    gap = [np.linalg.norm(people[0].landmarks[62] - people[0].landmarks[66]) for people in targets]
    assert max(gap) > min(gap) + 1.5


def test_a_hand_held_camera_moves_the_whole_image(cast, astronaut):
    still = Scene(0, lambda t, size: [], camera=SCENES["handheld"].camera)
    (first, second), _ = play(still, 2, 5, [], noise=0, background=astronaut)
    offset = np.array(SCENES["handheld"].camera(0.2)) - SCENES["handheld"].camera(0)
    (found_x, found_y), _ = cv2.phaseCorrelate(*(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) / 255.0 for i in (first, second)))
    assert (-found_x, -found_y) == pytest.approx(offset * SMALL[0], abs=0.15)
    _, targets = play("handheld", 2, 5, cast)
    states = [SCENES["handheld"].states(t, SMALL)[0] for t in (0, 0.2)]
    moved = targets[1][0].camera.matrix[:2, 3] - targets[0][0].camera.matrix[:2, 3]
    own = np.array([states[1].x - states[0].x, states[1].y - states[0].y])
    assert moved == pytest.approx(own - offset * SMALL[0], abs=1e-3)


def test_a_background_image_fills_the_image(cast, astronaut):
    (image,), _ = play("empty", 1, 30, [], background=astronaut, noise=0)
    assert image.std() > 30


def test_a_name_is_enough_for_a_scene():
    image, targets = next(frames("crossing", 1, SMALL))
    assert image.shape == (*SMALL, 3)
    assert all(target.visible == 1 for target in targets)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: State(yaw=np.nan), "State.yaw: expected a finite number"),
        (lambda h: State(size=0), "State.size: expected more than 0 px"),
        (lambda h: State(expression={"jawOpen": np.inf}), "State.expression['jawOpen']"),
        (lambda h: render((0, 10), []), "image_size: expected sides of 1"),
        (lambda h: render((10.5, 10), []), "image_size: expected (height, width)"),
        (lambda h: render((10, 10), [], np.zeros((9, 10, 3), np.uint8)), "background: expected 10 x 10"),
        (lambda h: render((10, 10), [], np.zeros((10, 10, 3))), "background: expected dtype uint8"),
        (lambda h: render((10, 10), [(State(), h)]), "heads[0]: expected (Head, State)"),
        (lambda h: render((10, 10), [(h, State())], supersample=7), "supersample: expected 1..4"),
        (lambda h: render((10, 10), [(h, State(expression={"jawOpn": 1}))]), "did you mean jawOpen"),
        (lambda h: render((10, 10), [(h, State(expression={"jawOpen": 2}))]), "expression['jawOpen']: expected"),
        (lambda h: Head(h.model, np.zeros(3), h.texture), "shape: expected shape"),
        (lambda h: Head(h.model, h.shape, h.texture[:20]), "texture: expected shape (size, size, 3)"),
        (lambda h: Head(h.model, h.shape, h.texture, hair=(0, 0, 300)), "hair: expected BGR in 0..255"),
        (lambda h: Head(h.model, h.shape, h.texture, jaw_lift=-1), "jaw_lift: expected 0..2, got -1"),
        (lambda h: Head("open", h.shape, h.texture), "model: expected a FaceModel"),
        (lambda h: degrade(h.texture, None, noise=-1), "noise: expected 0 or more"),
        (lambda h: degrade(h.texture, None, jpeg=0), "jpeg: expected a quality"),
        (lambda h: frames("dancing", 1), "scene: expected one of turn"),
        (lambda h: frames(3, 1), "scene: expected a Scene"),
        (lambda h: frames("turn", -1), "count: expected 0 or more"),
        (lambda h: frames("turn", 1, fps=0), "fps: expected more than 0"),
        (lambda h: frames("turn", 1, size=(0, 0)), "size: expected sides"),
        (lambda h: frames("turn", 1, noise=np.nan), "noise: expected 0 or more"),
        (lambda h: frames("crossing", 1, heads=[h]), "heads: expected 2 or more, got 1"),
    ],
)
def test_bad_arguments_are_named_at_the_call(other, call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call(other)


def test_a_photo_without_a_face_makes_no_head(aligner, wall):
    with pytest.raises(ValueError, match="image: expected a photo with a face"):
        Head.from_photo(wall, aligner)


def test_the_command_writes_images_and_ground_truth(tmp_path, capsys, root):
    out = tmp_path / "scene"
    photo = str(root / "examples/inputs/astronaut.jpg")
    assert main(["cut", str(out), "--frames", "3", "--size", "96x64", "--fps", "0.4", "--photo", photo]) == 0
    assert "3 frames" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["000000.png", "000001.png", "000002.png", "ground_truth.npz"]
    assert cv2.imread(str(out / "000001.png")).shape == (64, 96, 3)
    with np.load(out / "ground_truth.npz", allow_pickle=False) as target:
        assert target["present"].tolist() == [[True, False, False], [True, False, False], [False, True, True]]
        assert target["landmarks"].shape == (3, 3, 68, 3)
        assert target["camera"].shape == (3, 3, 3, 4)
        assert target["expression"].shape == (3, 3, 55)
        assert target["visible"][0].tolist() == [1, 0, 0]
        assert target["size"].tolist() == [64, 96]
        expected = SCENES["cut"].states(5.0, (64, 96))[1]
        assert target["pose"][2, 1] == pytest.approx((expected.yaw, expected.pitch, expected.roll), abs=1e-3)


def test_the_command_writes_a_video(tmp_path):
    path = tmp_path / "deep/nod.mov"
    assert main(["nod", str(path), "--frames", "4", "--size", "128x96"]) == 0
    assert sorted(p.name for p in path.parent.iterdir()) == ["nod.mov", "nod.npz"]
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert video.read()[1].shape == (96, 128, 3)
    video.release()


def test_the_command_reports_errors(tmp_path, capsys):
    assert main(["nod", str(tmp_path / "x"), "--frames", "-1"]) == 1
    assert "count: expected 0 or more" in capsys.readouterr().err
    assert main(["nod", str(tmp_path / "x"), "--photo", str(tmp_path / "none.jpg")]) == 1
    assert "no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["nod", str(tmp_path / "x"), "--size", "12"])
    assert list(tmp_path.iterdir()) == []
