import json
import sys
import textwrap
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tddfa.bench.face_landmarker import LandmarkedFace
from tddfa.cli import main
from tddfa.datasets.cfp import POINTS_68, read_cfp
from tddfa.fitting.landmarks import Guess, VertexMap, fit
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import INNER, JAW
from tddfa.synthetic import Head, State, backdrop, render
from tddfa.train.data.shards import Shard
from tddfa.train.labels.real_photos import FitSettings, label_closed_eyes, label_people

SEEN = list(POINTS_68)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def heads(model):
    """Cameras, shapes, expressions and noisy landmarks of twelve turned faces of three persons; half is unknown."""
    rng = np.random.default_rng(0)
    persons = np.repeat([7, 3, 5], 4)
    shape = rng.normal(0, 1, (3, model.shape_count)).astype(np.float32)[np.repeat([0, 1, 2], 4)]
    expression = rng.uniform(0, 0.15, (12, model.expression_count)).astype(np.float32)
    yaw = rng.uniform(45, 75, 12)
    camera = np.stack([Camera.from_pose(each, 4, -3, 12, (100, 90, 0)).matrix for each in yaw]).astype(np.float32)
    points = np.stack(
        [Camera(c).project(model.landmarks(s, e))[:, :2] for c, s, e in zip(camera, shape, expression, strict=True)]
    )
    points = points + rng.normal(0, 0.8, points.shape)
    points[:, np.setdiff1d(np.arange(68), SEEN)] = np.nan
    return persons, camera, shape, points, np.abs(yaw)


@pytest.fixture(scope="module")
def where(model):
    """The landmarks with a jaw that counts: on the face itself, as CFP's."""
    return replace(VertexMap.of_300w(model), jaw=np.zeros(68, dtype=bool))


def yaws(fits):
    return np.abs([Camera(each).euler_degrees().yaw for each in fits.camera])


@pytest.mark.slow
def test_a_guess_of_the_pose_keeps_the_yaw_of_half_a_face(heads, model, where):
    _, camera, _, points, yaw = heads
    none = np.zeros((12, model.shape_count)), np.zeros((12, model.expression_count))
    free = fit(points, model, where)
    held = fit(points, model, where, guess=Guess(camera, *none, pose=1.0))
    assert np.abs(yaws(held) - yaw).mean() < 0.6 < np.abs(yaws(free) - yaw).mean()
    assert held.error.mean() < 1.2
    # a wrong guess holds as far as its deviation says
    wrong = np.stack([Camera.from_pose(*(angle - 20, 4, -3), 12, (100, 90, 0)).matrix for angle in yaw])
    tight, loose = (
        fit(points, model, where, guess=Guess(wrong.astype(np.float32), *none, pose=pose)) for pose in (0.2, 20.0)
    )
    assert np.abs(yaws(tight) - (yaw - 20)).mean() < 2 and np.abs(yaws(loose) - yaw).mean() < 4


@pytest.mark.slow
def test_photos_of_a_person_share_a_better_shape(heads, model, where):
    persons, camera, shape, points, _ = heads
    guess = Guess(camera, np.zeros((12, model.shape_count)), np.zeros((12, model.expression_count)))
    alone = fit(points, model, where, guess=guess)
    shared = fit(points, model, where, guess=guess, persons=persons)
    for person in set(persons.tolist()):
        own = shared.shape[persons == person]
        assert np.abs(own - own[0]).max() < 1e-4
    related = [np.corrcoef(each.shape.ravel(), shape.ravel())[0, 1] for each in (alone, shared)]
    assert related[0] + 0.05 < related[1]
    # order and names of the persons do not matter
    order = np.random.default_rng(1).permutation(12)
    named = np.array([f"person {each}" for each in persons])
    again = fit(points[order], model, where, guess=guess.take(order), persons=named[order])
    assert np.abs(again.shape - shared.shape[order]).max() < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"persons": [1, 2]}, r"persons: expected 12 names or numbers, got shape \(2,\)"),
        ({"guess": (11, 40, 55)}, r"guess: expected \(12, 40, 55\) faces, shape and expression coefficients"),
        ({"guess": (12, 39, 55)}, r"guess: expected \(12, 40, 55\) faces, shape and expression coefficients"),
    ],
)
def test_arguments_that_do_not_fit(heads, model, options, message):
    if "guess" in options:
        n, s, e = options["guess"]
        options = {"guess": Guess(np.zeros((n, 3, 4)), np.zeros((n, s)), np.zeros((n, e)))}
    with pytest.raises(ValueError, match=message):
        fit(heads[3], model, **options)


def test_a_guess_needs_a_deviation():
    with pytest.raises(ValueError, match=r"Guess.pose: expected an angle over 0 degrees, got 0"):
        Guess(np.zeros((1, 3, 4)), np.zeros((1, 2)), np.zeros((1, 2)), pose=0)


@pytest.fixture(scope="module")
def cfp(tmp_path_factory, model):
    """Rendered photos as CFP's, of two persons; the second is for validation, a third for reporting."""
    folder = tmp_path_factory.mktemp("cfp")
    names, points, profile = [], [], []
    for person in (1, 401, 426):
        head = Head.procedural(model, person, size=240)
        for k, yaw in enumerate((50, 62, 8)):
            state = State(yaw, 3, 0, size=120, x=120, y=120)
            image, (target,) = render((240, 240), [(head, state)], backdrop((240, 240), person + k))
            landmarks = target.landmarks[SEEN, :2]
            if k == 1:  # a photo of the other side
                image = np.ascontiguousarray(image[:, ::-1])
                landmarks = landmarks * [-1, 1] + [239, 0]
            if k == 0:
                landmarks[[16, 17]] = landmarks[[17, 16]]
            kind = "frontal" if k == 2 else "profile"
            names.append(f"{person:03d}_{kind}_{k + 1:02d}")
            points.append(landmarks)
            profile.append(kind == "profile")
            assert cv2.imwrite(str(folder / f"{names[-1]}.jpg"), image)
    np.savez(folder / "cfp.npz", names=np.array(names), points=np.array(points, np.float32), profile=profile)
    return folder


def test_people_get_one_shape_and_keep_their_yaw(cfp, aligner, model):
    photos = read_cfp(cfp, range(1, 426))
    assert len(photos) == 6

    def teacher(image):
        # sees frontal faces alone, and is asked for these alone
        (face,) = aligner(image)
        assert abs(face.camera.euler_degrees().yaw) < 25
        asked.append(face)
        return LandmarkedFace(aligner.decoder.points(face, "mediapipe").astype(np.float64), {})

    asked = []
    labelled = label_people(photos, aligner, teacher, validation=range(401, 426))
    assert len(asked) == 2 and labelled.left_out == 0
    assert labelled.error < 2.5
    assert np.abs(labelled.yaw_after - labelled.yaw_before).max() < 5 and labelled.yaw_after.min() > 40
    by_person = {sample.person for sample in labelled.samples}
    assert by_person == {"cfp-001", "cfp-401"}
    assert all(sample.validation == (sample.person == "cfp-401") for sample in labelled.samples)
    for person in by_person:
        shapes = np.stack([sample.shape for sample in labelled.samples if sample.person == person])
        assert np.abs(shapes - shapes[0]).max() < 1e-4
    for sample in labelled.samples:
        known = np.isfinite(sample.landmarks[:, 0])
        assert np.flatnonzero(known).tolist() == sorted(SEEN)
        own = Camera(sample.camera).project(model.landmarks(sample.shape, sample.expression))[:, :2]
        assert np.linalg.norm(own - sample.landmarks, axis=1)[known].mean() < 4  # px of 160


def test_without_a_teacher_the_face_model_needs_no_points_of_mediapipe(cfp, aligner, model, monkeypatch):
    monkeypatch.setattr(aligner.decoder, "face_model", replace(model, point_sets={}))
    labelled = label_people(read_cfp(cfp, range(1, 2)), aligner, None)
    assert labelled.left_out == 0
    assert labelled.error < 2.5


def test_a_network_that_is_far_off_leaves_the_landmarks_alone(cfp, aligner):
    photos = read_cfp(cfp, range(1, 2))
    labelled = label_people(photos, aligner, settings=FitSettings(max_error=0.01))
    assert labelled.left_out == 3
    assert all(sample.camera is None and np.isfinite(sample.landmarks).any() for sample in labelled.samples)


MEDIAPIPE = """
    import json
    from types import SimpleNamespace as Space
    __version__ = '0.10.21'
    POINTS = json.load(open({path!r}))
    class Image:
        @staticmethod
        def create_from_file(path):
            import cv2
            height, width = cv2.imread(path).shape[:2]
            return Space(width=width, height=height)
    class Landmarker:
        @staticmethod
        def create_from_options(options):
            return Landmarker()
        def detect(self, image):
            points = [Space(x=(x + .5) / image.width, y=(y + .5) / image.height, z=0) for x, y in POINTS]
            return Space(face_landmarks=[points], face_blendshapes=[[]])
    vision = Space(FaceLandmarkerOptions=lambda **options: options, FaceLandmarker=Landmarker)
    tasks = Space(vision=vision, BaseOptions=lambda model_asset_path: None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
def test_closed_eyes_by_the_command(tmp_path, aligner, model, astronaut, capsys):
    """Points as of open eyes: the labels close them all the same."""
    (face,) = aligner(astronaut)
    low, high = face.landmarks[:, :2].min(axis=0).astype(int) - 40, face.landmarks[:, :2].max(axis=0).astype(int) + 40
    crop = astronaut[low[1] : high[1], low[0] : high[0]]
    (tmp_path / "photos").mkdir()
    for k in range(5):
        assert cv2.imwrite(str(tmp_path / f"photos/{k}.png"), crop)
    border = round(0.4 * max(crop.shape[:2]))
    points = aligner.decoder.points(face, "mediapipe")[:, :2].astype(float) - low + border
    (tmp_path / "packages").mkdir()
    (tmp_path / "points.json").write_text(json.dumps(points.tolist()))
    module = textwrap.dedent(MEDIAPIPE.format(path=str(tmp_path / "points.json")))
    (tmp_path / "packages/mediapipe.py").write_text(module)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "model.task").touch()
    peer = ["--peer-mediapipe", str(python), "--face-landmarker", str(tmp_path / "model.task")]
    out = tmp_path / "out"
    assert main(["train", "label", "closed-eyes", str(tmp_path / "photos"), str(out), *peer]) == 0
    printed = capsys.readouterr().out
    assert "4 faces" in printed and "1 marked for validation" in printed
    labels = Shard(out).labels
    columns = [model.expression_names.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    assert (labels.expression[:, columns] == 1).all() and (labels.source == "cew").all()
    assert labels.validation.tolist() == [False, False, False, True]
    assert np.isnan(labels.landmarks[:, JAW]).all() and np.isfinite(labels.landmarks[:, INNER]).all()
    lids = labels.landmarks[0, [37, 38, 43, 44]] - labels.landmarks[0, [41, 40, 47, 46]]
    width = np.linalg.norm(labels.landmarks[0, 36] - labels.landmarks[0, 39])
    assert np.linalg.norm(lids, axis=1).max() < 0.25 * width
    assert (out / "fits.png").is_file()
    assert main(["train", "label", "closed-eyes", str(tmp_path / "photos"), str(out)]) == 2
    assert "closed-eyes: expected --peer-mediapipe PYTHON" in capsys.readouterr().err


def test_no_photo_with_a_face(tmp_path, aligner):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 60, 3), 128, np.uint8))
    with pytest.raises(ValueError, match="expected some with a face that MediaPipe finds, got none of 1"):
        label_closed_eyes([tmp_path / "a.png"], aligner, lambda image: None)
