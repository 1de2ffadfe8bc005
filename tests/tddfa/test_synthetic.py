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
    """EAR: height over width of the lids' opening."""
    p = landmarks[list(eye), :2]
    heights = np.linalg.norm(p[1] - p[5]) + np.linalg.norm(p[2] - p[4])
    return heights / (2 * np.linalg.norm(p[0] - p[3]))


def error(found, truth):
    """Mean distance of the landmarks, % of the face's size."""
    distance = np.linalg.norm(found.landmarks[:, :2] - truth.landmarks[:, :2], axis=1).mean()
    return 100 * distance / np.sqrt(np.prod(truth.box[2:] - truth.box[:2]))


def aligned(aligner, image, truth):
    """The one face that is found, and where the truth has it."""
    faces = aligner(image)
    assert len(faces) == 1
    assert np.all(np.abs(faces[0].landmarks.mean(axis=0)[:2] - truth.landmarks.mean(axis=0)[:2]) < 12)
    return faces[0]


@pytest.mark.parametrize("who", ["head", "other"])
def test_what_is_rendered_is_found_as_it_is(request, aligner, wall, who):
    head = request.getfixturevalue(who)
    errors, angles = [], []
    for yaw, pitch, roll in [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 15, 0), (0, -20, 0), (0, 0, 25), (20, -10, -15)]:
        image, (truth,) = render(wall.shape[:2], [(head, State(yaw, pitch, roll, 150, 240, 190))], wall)
        assert truth.camera.euler_degrees() == pytest.approx((yaw, pitch, roll), abs=1e-3)
        assert truth.visible == 1
        face = aligned(aligner, image, truth)
        assert face.score > 0.95
        errors.append(error(face, truth))
        angles.append(np.abs(np.subtract(face.camera.euler_degrees(), (yaw, pitch, roll))))
    assert np.mean(errors) < 3.5
    assert max(errors) < 6
    assert np.mean(angles, axis=0) == pytest.approx(0, abs=5)
    assert np.max(angles) < 12


def test_faces_are_found_at_many_poses_and_sizes(aligner, head, other, wall):
    rng = np.random.default_rng(0)
    found = []
    for index in range(40):
        yaw, pitch, roll = rng.uniform(-1, 1, 3) * (45, 20, 25)
        state = State(yaw, pitch, roll, np.exp(rng.uniform(np.log(60), np.log(240))), 240, 180)
        image, (truth,) = render(wall.shape[:2], [((head, other)[index % 2], state)], wall)
        detections = aligner.detector(degrade(image, rng, noise=2))
        centre = (truth.box[:2] + truth.box[2:]) / 2
        boxes = detections.xyxy[detections.scores > 0.5]
        inside = (boxes[:, :2] < centre).all(axis=1) & (boxes[:, 2:] > centre).all(axis=1)
        found.append(inside.sum() == 1)
    assert np.mean(found) >= 0.95


def test_truth_is_what_the_face_model_says(model, other):
    state = State(20, -5, 10, 120, 150, 140, {"jawOpen": 0.5, "eyeBlink": 0.25})
    _, (truth,) = render((300, 300), [(other, state)])
    assert truth.camera.matrix[:2, 3] == pytest.approx((150, 140))
    landmarks = truth.camera.project(model.landmarks(other.shape, truth.expression))
    np.testing.assert_allclose(truth.landmarks, landmarks, atol=1e-3)
    weights = dict(zip(model.expression_names, truth.expression.tolist(), strict=True))
    assert weights.pop("jawOpen") == 0.5
    assert weights.pop("eyeBlinkLeft") == weights.pop("eyeBlinkRight") == 0.25
    assert not any(weights.values())


def test_size_is_that_of_the_mean_face(model):
    plain = Head(model, np.zeros(model.shape_count), np.full((64, 64, 3), 150, np.uint8))
    for yaw in (0, 70):
        _, (truth,) = render((300, 300), [(plain, State(yaw=yaw, size=130, x=150, y=150))])
        mean = Camera.from_pose(0, 0, 0, truth.camera.scale).project(model.landmarks(plain.shape, truth.expression * 0))
        assert np.ptp(mean[:, :2], axis=0).max() == pytest.approx(130, abs=0.01)


def test_the_drawn_face_lies_where_its_landmarks_say(model, aligner):
    """A texture that is white on the lips alone shows where they are drawn."""
    sheet = np.zeros((256, 256, 3), np.uint8)
    at = model.uv[model.regions["lips"]]
    for u, v in at:
        cv2.circle(sheet, (round(float(u) * 256 - 0.5), round((1 - float(v)) * 256 - 0.5)), 1, (255, 255, 255), -1)
    marked = Head(model, np.zeros(model.shape_count), sheet, (0, 0, 0), (0, 0, 0), (0, 0, 0))
    for yaw in (0, 25, -25):
        image, (truth,) = render(
            (400, 400), [(marked, State(yaw=yaw, size=250, x=200, y=200))], np.zeros((400, 400, 3), np.uint8)
        )
        rows, columns = np.nonzero(image[..., 0] > 90)
        lips = truth.landmarks[48:60]
        assert abs(rows.mean() - lips[:, 1].mean()) < 6
        assert abs(columns.mean() - lips[:, 0].mean()) < 6


def test_closed_eyes_are_closed_in_truth_and_in_the_picture(aligner, head, other, wall):
    for who in (head, other):
        truths, faces = [], []
        for weight in (0.0, 1.0):
            state = State(size=200, x=240, y=190, expression={"eyeBlink": weight})
            image, (truth,) = render(wall.shape[:2], [(who, state)], wall)
            truths.append(truth.landmarks)
            faces.append(aligned(aligner, image, truth).landmarks)
        for eye in (LEFT_EYE, RIGHT_EYE):
            assert openness(truths[1], eye) < 0.5 * openness(truths[0], eye)
            assert openness(faces[1], eye) < 0.85 * openness(faces[0], eye)


def test_a_wink_closes_one_eye(other):
    _, (truth,) = render((300, 300), [(other, State(size=150, x=150, y=150, expression={"eyeBlinkLeft": 1.0}))])
    assert openness(truth.landmarks, LEFT_EYE) < 0.5 * openness(truth.landmarks, RIGHT_EYE)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_hides_the_farther(model, order):
    flat = np.zeros(model.shape_count)
    red = Head(model, flat, np.full((64, 64, 3), (0, 0, 200), np.uint8), *[(0, 0, 200)] * 3)
    blue = Head(model, flat, np.full((64, 64, 3), (200, 0, 0), np.uint8), *[(200, 0, 0)] * 3)
    pairs = [(red, State(size=120, x=150, y=120)), (blue, State(size=60, x=150, y=120))]
    image, truths = render((300, 300), [pairs[k] for k in order])
    near, far = truths[order.index(0)], truths[order.index(1)]
    x, y = np.rint(far.landmarks[30, :2]).astype(int)
    assert image[y, x, 2] > 90
    assert image[y, x, 0] < 60
    assert (near.visible, far.visible) == (1, 0)

    pairs[1] = (blue, State(size=60, x=196, y=120))
    image, truths = render((300, 300), [pairs[k] for k in order], shoulders=False)
    assert truths[order.index(0)].visible == 1
    assert 0.05 < truths[order.index(1)].visible < 0.95
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


def test_light_comes_from_where_it_is_said(other):
    state = [(other, State(size=150, x=150, y=150))]
    left, right = (
        render((300, 300), state, light={"light_direction": (x, 0, 0.3)}, shoulders=False)[0] for x in (-1, 1)
    )
    assert left[100:200, 90:140].mean() > right[100:200, 90:140].mean() + 15
    assert right[100:200, 160:210].mean() > left[100:200, 160:210].mean() + 15


@pytest.mark.parametrize("x", [-80, 0, 300, 380, 5000, -1e7])
@pytest.mark.parametrize("y", [-300, 0, 290, 1e9])
def test_heads_may_leave_the_picture(other, x, y):
    image, (truth,) = render((300, 300), [(other, State(yaw=30, size=120, x=x, y=y))])
    assert image.shape == (300, 300, 3)
    assert 0 <= truth.visible < 1
    assert np.isfinite(truth.landmarks).all()
    if abs(x) > 1000 or abs(y) > 1000:
        assert truth.visible == 0
        assert (image == 128).all()


def test_half_a_face_at_the_border_is_half_visible(other):
    _, (truth,) = render((300, 300), [(other, State(size=120, x=0, y=150))])
    assert truth.visible == pytest.approx(0.5, abs=0.05)


def test_tiny_and_huge_heads(other):
    for size in (0.01, 1, 6, 3000):
        image, (truth,) = render((100, 120), [(other, State(size=size, x=60, y=50))])
        assert image.shape == (100, 120, 3)
        assert 0 <= truth.visible <= 1


def test_pictures_are_plain_and_nothing_given_is_changed(other, wall):
    before = wall.copy()
    state = State(size=100, x=200, y=200)
    image, truths = render(wall.shape[:2], [(other, state), (other, State(visible=False))], wall)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous and image.flags.writeable
    assert truths[1] is None
    assert not np.shares_memory(image, wall)
    np.testing.assert_array_equal(wall, before)
    nobody, none = render((20, 30), [])
    assert none == []
    assert (nobody == 128).all()


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
    return [image for image, _ in played], [truths for _, truths in played]


@pytest.fixture(scope="module")
def cast(head, other):
    return [head, other, head]


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_true_and_the_same_again(cast, name):
    images, truths = play(name, 5, 1.3, cast, seed=2)
    again, _ = play(name, 5, 1.3, cast, seed=2)
    for image, same, people in zip(images, again, truths, strict=True):
        assert image.shape == (*SMALL, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert len(people) == SCENES[name].people
        np.testing.assert_array_equal(image, same)
    assert not np.array_equal(images[0], images[1])


def test_another_seed_gives_another_picture(cast):
    (first,), _ = play("turn", 1, 30, cast, seed=0)
    (second,), _ = play("turn", 1, 30, cast, seed=1)
    assert np.abs(first.astype(int) - second).mean() > 5


@pytest.mark.parametrize("name", SCENES)
def test_scenes_move_smoothly_and_within_what_the_model_allows(model, name):
    """At 30 frames a second nobody jumps, but over a cut."""
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
    """The two change sides; the first hides the second on the way, and both are seen before and after."""
    _, truths = play("crossing", 21, 2, cast)
    x = np.array([[truth.landmarks[:, 0].mean() for truth in people] for people in truths])
    visible = np.array([[truth.visible for truth in people] for people in truths])
    side = np.sign(x[:, 0] - x[:, 1])
    assert side[0] == -1
    assert side[-1] == 1
    assert np.count_nonzero(np.diff(side)) == 1
    assert (visible[[0, -1]] == 1).all()
    assert (visible[:, 0] == 1).all()
    assert visible[:, 1].min() == 0


def test_leaving(cast):
    _, truths = play("leaving", 31, 3, cast)
    visible = np.array([[truth.visible for truth in people] for people in truths])
    assert (visible[:, 1] == 1).all()
    assert (visible[[0, -1], 0] == 1).all()
    assert 5 <= (visible[:, 0] == 0).sum() <= 12
    assert ((visible[:, 0] > 0) & (visible[:, 0] < 1)).any()


def test_cut(cast):
    images, truths = play("cut", 33, 4, cast)
    change = np.array([np.abs(b.astype(int) - a).mean() for a, b in itertools.pairwise(images)])
    there = np.array([[truth is not None for truth in people] for people in truths])
    cuts = np.flatnonzero(there[1:, 0] != there[:-1, 0])
    assert cuts.tolist() == [15, 31]
    assert change[cuts].min() > 3 * np.delete(change, cuts).max()
    assert (there[:, 0] != there[:, 1]).all()
    assert (there[:, 1] == there[:, 2]).all()


def test_blinking_and_talking(cast):
    _, truths = play("blinking", 80, 10, cast, size=(45, 80))
    left, right = (np.array([openness(people[0].landmarks, eye) for people in truths]) for eye in (LEFT_EYE, RIGHT_EYE))
    closed_left, closed_right = left < 0.5 * np.median(left), right < 0.5 * np.median(right)
    assert (closed_left & closed_right).any()
    assert (closed_left & ~closed_right).any()
    assert 0.02 < closed_left.mean() < 0.25
    _, truths = play("talking", 40, 10, cast)
    gap = [np.linalg.norm(people[0].landmarks[62] - people[0].landmarks[66]) for people in truths]
    assert max(gap) > min(gap) + 1.5


def test_a_hand_held_camera_moves_all_of_the_picture(cast, astronaut):
    still = Scene(0, lambda t, size: [], camera=SCENES["handheld"].camera)
    (first, second), _ = play(still, 2, 5, [], noise=0, background=astronaut)
    offset = np.array(SCENES["handheld"].camera(0.2)) - SCENES["handheld"].camera(0)
    (found_x, found_y), _ = cv2.phaseCorrelate(*(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) / 255.0 for i in (first, second)))
    assert (-found_x, -found_y) == pytest.approx(offset * SMALL[0], abs=0.15)
    _, truths = play("handheld", 2, 5, cast)
    states = [SCENES["handheld"].states(t, SMALL)[0] for t in (0, 0.2)]
    moved = truths[1][0].camera.matrix[:2, 3] - truths[0][0].camera.matrix[:2, 3]
    own = np.array([states[1].x - states[0].x, states[1].y - states[0].y])
    assert moved == pytest.approx(own - offset * SMALL[0], abs=1e-3)


def test_a_given_background_fills_the_picture(cast, astronaut):
    (image,), _ = play("nobody", 1, 30, [], background=astronaut, noise=0)
    assert image.std() > 30


def test_a_name_is_enough_for_a_scene():
    image, truths = next(frames("crossing", 1, SMALL))
    assert image.shape == (*SMALL, 3)
    assert all(truth.visible == 1 for truth in truths)


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
        (lambda h: render((10, 10), [(h, State(expression={"jawOpn": 1}))]), "is it jawOpen"),
        (lambda h: render((10, 10), [(h, State(expression={"jawOpen": 2}))]), "expression['jawOpen']: expected"),
        (lambda h: Head(h.model, np.zeros(3), h.texture), "shape: expected shape"),
        (lambda h: Head(h.model, h.shape, h.texture[:20]), "texture: expected shape (size, size, 3)"),
        (lambda h: Head(h.model, h.shape, h.texture, hair=(0, 0, 300)), "hair: expected BGR in 0..255"),
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


def test_the_command_writes_pictures_and_truth(tmp_path, capsys, root):
    out = tmp_path / "scene"
    photo = str(root / "examples/inputs/astronaut.jpg")
    assert main(["cut", str(out), "--frames", "3", "--size", "96x64", "--fps", "0.4", "--photo", photo]) == 0
    assert "3 frames" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["000000.png", "000001.png", "000002.png", "truth.npz"]
    assert cv2.imread(str(out / "000001.png")).shape == (64, 96, 3)
    with np.load(out / "truth.npz", allow_pickle=False) as truth:
        assert truth["present"].tolist() == [[True, False, False], [True, False, False], [False, True, True]]
        assert truth["landmarks"].shape == (3, 3, 68, 3)
        assert truth["camera"].shape == (3, 3, 3, 4)
        assert truth["expression"].shape == (3, 3, 55)
        assert truth["visible"][0].tolist() == [1, 0, 0]
        assert truth["size"].tolist() == [64, 96]
        expected = SCENES["cut"].states(5.0, (64, 96))[1]
        assert truth["pose"][2, 1] == pytest.approx((expected.yaw, expected.pitch, expected.roll), abs=1e-3)


def test_the_command_writes_a_video(tmp_path):
    path = tmp_path / "deep/nod.mov"
    assert main(["nod", str(path), "--frames", "4", "--size", "128x96"]) == 0
    assert sorted(p.name for p in path.parent.iterdir()) == ["nod.mov", "nod.npz"]
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert video.read()[1].shape == (96, 128, 3)
    video.release()


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["nod", str(tmp_path / "x"), "--frames", "-1"]) == 1
    assert "count: expected 0 or more" in capsys.readouterr().err
    assert main(["nod", str(tmp_path / "x"), "--photo", str(tmp_path / "none.jpg")]) == 1
    assert "no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["nod", str(tmp_path / "x"), "--size", "12"])
    assert list(tmp_path.iterdir()) == []
