from itertools import pairwise

import cv2
import numpy as np
import pytest

from builders import make_face
from FaceBoxes import Detections
from tddfa import Camera, draw
from tddfa.draw.labels import Labels, Place

WHITE = np.full((200, 300, 3), 255, np.uint8)
HOME = {"pose": "tddfa.draw.head_pose", "box": "tddfa.draw.detections"}
ABOVE = Place(100, 100, above=True)


def written(*labels, image=WHITE):
    """The image with labels (texts, places), whether each was written, and the plates of those that were."""
    out = image.copy()
    labelled = Labels(out)
    results = [labelled.write(texts, places, 0.5) for texts, places in labels]
    return out, results, labelled.plates


def test_a_plate_lies_at_its_place():
    for place, expected in (
        (ABOVE, (100, None, None, 100)),
        (Place(100, 100, above=False), (100, 100, None, None)),
    ):
        out, _, [plate] = written((["0.50"], [place]))
        assert all(want is None or got == want for got, want in zip(plate, expected, strict=True))
        left, top, right, bottom = plate
        assert (out[top:bottom, left:right].min(axis=(0, 1)) <= 85).all()
        changed = (out != WHITE).any(axis=2)
        assert changed.sum() == changed[top:bottom, left:right].sum() == (right - left) * (bottom - top)
    _, _, [(left, _, right, _)] = written((["0.50"], [Place(150, 100, above=True, centered=True)]))
    assert abs(left + right - 300) <= 1


@pytest.mark.parametrize(("x", "y"), [(-50, 100), (290, 100), (100, -5), (100, 5), (100, 260), (1e7, -1e7)])
def test_a_plate_is_moved_into_the_image(x, y):
    for above in (True, False):
        _, [there], [plate] = written((["0.50"], [Place(x, y, above)]))
        assert there
        assert plate[0] >= 0 and plate[1] >= 0 and plate[2] <= 300 and plate[3] <= 200


def test_labels_at_one_place_lie_beside_each_other():
    _, results, plates = written(*[(["0.50"], [ABOVE])] * 6)
    assert results == [True] * 4 + [False] * 2  # the place, and three farther from the face
    heights = [plate[3] for plate in plates[:4]]
    assert heights == sorted(heights, reverse=True)
    assert all(lower[1] >= upper[3] for lower, upper in pairwise(plates[:4]))


def test_the_next_place_is_better_than_one_that_is_farther_away():
    below = Place(100, 130, above=False)
    _, _, plates = written((["0.50"], [ABOVE]), (["0.50"], [ABOVE, below]))
    assert plates[1][1] == 130


def test_a_shorter_text_is_written_where_the_longer_has_no_room(monkeypatch):
    texts = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: texts.append(text))
    long, short = "yaw +10.0  pitch +5.0  roll -3.0", "+10 +5 -3"
    for width in (300, 120, 20):
        written(([long, short], [ABOVE]), image=WHITE[:, :width])
    assert texts == [long, short]


@pytest.mark.parametrize("kind", ["pose", "box"])
def test_labels_of_a_crowd_do_not_overlap(kind, aligner, monkeypatch):
    made = []
    monkeypatch.setattr(f"{HOME[kind]}.Labels", lambda image: made.append(Labels(image)) or made[0])
    faces = [
        make_face(aligner.face_model, Camera.from_pose(5, 0, 0, scale=4, translation=(60 + 13 * k, 100 + k, 0)))
        for k in range(14)
    ]
    image = np.full((300, 400, 3), 200, np.uint8)
    if kind == "pose":
        draw.pose(image, faces)
    else:
        draw.boxes(image, Detections([face.box for face in faces], [0.5] * len(faces)))
    assert 5 < len(made[0].plates) <= 14
    covered = np.zeros(image.shape[:2], int)
    for left, top, right, bottom in made[0].plates:
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1


@pytest.mark.parametrize(("angle", "text"), [(-0.04, "+0.0"), (0.04, "+0.0"), (-0.06, "-0.1")])
def test_what_rounds_to_0_has_no_minus(angle, text, aligner, monkeypatch):
    texts = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: texts.append(text))
    face = make_face(aligner.face_model, Camera.from_pose(angle, 0, 0, scale=8, translation=(200, 150, 0)))
    draw.pose(np.zeros((400, 400, 3), np.uint8), [face])
    assert texts[0].startswith(f"yaw {text}  ")


def test_names_begin_the_labels(aligner, monkeypatch):
    texts = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: texts.append(text))
    faces = [
        make_face(aligner.face_model, Camera.from_pose(0, 0, 0, scale=scale, translation=(x, 200, 0)))
        for x, scale in ((150, 6), (450, 8))
    ]
    image = np.zeros((400, 600, 3), np.uint8)
    draw.pose(image, faces, names=["a", ""])
    assert [text[:3] for text in texts] == ["yaw", "a: "]  # the larger face first
    with pytest.raises(ValueError, match="names: expected one for each of 2 faces, got 1"):
        draw.pose(image, faces, names=["a"])
