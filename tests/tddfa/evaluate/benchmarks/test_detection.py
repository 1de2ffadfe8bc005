from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from FaceBoxes import Detections, Detector
from tddfa import Aligner
from tddfa.evaluate.benchmarks import detection, negatives
from tddfa.evaluate.result import DataMissing, Setup


@dataclass(frozen=True)
class Scripted(Detector):
    """Detects the given boxes of an image, known by its grey level, above its score threshold."""

    script: dict = field(default_factory=dict)

    def __call__(self, image):
        rows = np.array(self.script.get(int(image[0, 0, 0]) // 10, []), np.float32).reshape(-1, 5)
        rows = rows[rows[:, 4] > self.score]
        return Detections(rows[:, :4], rows[:, 4])


def scripted(aligner, script, score_of=lambda crop: 1.0):
    """An aligner with that detector, whose regressor scores a crop by `score_of`."""

    def regressor(crops):
        count = len(crops)
        camera = np.tile(np.array([[1, 0, 0, 60], [0, -1, 0, 60], [0, 0, 1, 0]], np.float32), (count, 1, 1))
        scores = np.array([score_of(crop) for crop in crops], np.float32)
        zeros = np.zeros((count, 40), np.float32), np.zeros((count, 55), np.float32)
        return {"camera": camera, "shape": zeros[0], "expression": zeros[1], "score": scores}

    detector = Scripted(model=lambda _: {}, script=script)
    return Aligner(regressor, aligner.decoder, detector=detector, min_score=0.95)


def paint(folder, count):
    folder.mkdir(parents=True)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k:02d}.png"), np.full((200, 200, 3), 10 * k + 5, np.uint8))


@pytest.fixture
def made(tmp_path):
    """Ten images with a face of 100 px each; the last has a small second one."""
    paint(tmp_path / "detect", 10)
    for k in range(10):
        rows = ["10 10 110 110", *(["150 150 160 160"] if k == 9 else [])]
        (tmp_path / "detect" / f"{k:02d}.txt").write_text("\n".join(rows))
    return tmp_path


def test_known_precision_and_recall(aligner, made):
    right, wrong = [10, 10, 110, 110], [120, 10, 180, 70]
    # all ten are detected; a false one is between the fifth and the sixth; one is below the own score threshold
    script = {k: [[*right, 0.9 - 0.05 * k]] for k in range(10)}
    script[0].append([*wrong, 0.67])
    result = detection.evaluate(Setup(made, scripted(aligner, script)))
    assert result.value("detect.all.images") == 10
    assert result.value("detect.all.faces.all") == 11
    # recall: 5/11 at precision 1, the other five at 10/11, by the envelope; the small face is never detected
    assert result.value("detect.all.ap.iou50.all") == pytest.approx((5 + 5 * 10 / 11) / 11)
    assert result.value("detect.all.recall-low.iou50.all") == pytest.approx(10 / 11)
    assert result.value("detect.all.recall.iou50.all") == pytest.approx(8 / 11)  # over .5
    assert result.value("detect.all.precision.iou50.all") == pytest.approx(8 / 9)
    assert result.value("detect.all.ap.iou50.over-96") == 1  # the false one has 60 px
    assert result.value("detect.all.ap.iou50.under-16") == 0
    assert result.value("detect.all.ap.iou50.48-96") is None
    assert result.value("detect.last-30.images") == 3
    assert result.value("detect.last-30.faces.all") == 4
    assert result.value("detect.last-30.ap.iou50.all") == pytest.approx(3 / 4)
    assert [item["missed"] for item in result.items] == [0] * 8 + [1, 2]
    assert [item["false"] for item in result.items] == [1] + [0] * 9
    assert [case.error for case in result.worst] == [2, 1, 1]
    assert result.worst[0].ground_truth[:4] == [[10, 10], [110, 10], [110, 110], [10, 110]]
    # faces that no box touches are missed: the curve ends below 100 %, at no error of 1
    (curve,) = result.curves
    assert (len(curve.errors) + curve.missed, max(curve.errors) < 1) == (11, True)
    assert curve.missed > 0


def test_loose_boxes_are_correct_at_the_lower_iou(aligner, made):
    script = {k: [[10, 10, 110, 55, 0.9]] for k in range(10)}
    result = detection.evaluate(Setup(made, scripted(aligner, script)))
    assert result.value("detect.all.ap.iou50.over-96") == 0
    assert result.value("detect.all.ap.iou40.over-96") == 1


def test_known_faces_that_the_aligner_reports(aligner, made):
    """The score keeps crops of images that are darker than 30; the box of the landmarks decides what they fit."""
    right, none = [10, 10, 110, 110], [110, 110, 190, 190]
    script = {k: [[*right, 0.9]] for k in range(10)}
    script[0].append([*none, 0.8])
    model = scripted(aligner, script, score_of=lambda crop: 1.0 if crop[60, 60, 0] < 30 else 0.2)
    (face,) = model(made / "detect/01.png")
    x1, y1, x2, y2 = np.r_[face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)]
    for k in range(10):
        (made / "detect" / f"{k:02d}.txt").write_text(f"{x1} {y1} {x2} {y2}")
    result = detection.evaluate(Setup(made, model))
    assert result.value("detect.all.reported.all") == pytest.approx(3 / 10)
    assert result.value("detect.all.reported-precision.all") == pytest.approx(3 / 4)
    assert result.value("detect.last-30.reported.all") == 0


def test_the_training_part_does_not_depend_on_the_limit(aligner, made):
    result = detection.evaluate(Setup(made, scripted(aligner, {}), limit=5))
    assert result.value("detect.all.images") == 5
    assert result.value("detect.last-30.images") == 1  # of 0, 2, 4, 6, 8, only 8 is one of the last three


def test_no_data(aligner, tmp_path):
    with pytest.raises(DataMissing, match="WIDER"):
        detection.evaluate(Setup(tmp_path, aligner))
    with pytest.raises(DataMissing, match="negatives"):
        negatives.evaluate(Setup(tmp_path, aligner))


def test_a_model_without_a_detector(aligner, made):
    without = Aligner(aligner.regressor, aligner.decoder)
    for module in (detection, negatives):
        with pytest.raises(ValueError, match="expected a model with a detector"):
            module.evaluate(Setup(made, without))


def test_known_false_faces(aligner, tmp_path):
    paint(tmp_path / "negatives", 8)
    # three boxes in one image, one in another; the face score keeps crops darker than 30
    script = {2: [[10, 10, 110, 110, 0.9], [20, 30, 90, 90, 0.8], [50, 50, 40, 40, 0.7]], 7: [[10, 10, 110, 110, 0.6]]}
    model = scripted(aligner, script, score_of=lambda crop: 1.0 if crop[60, 60, 0] < 30 else 0.2)
    result = negatives.evaluate(Setup(tmp_path, model))
    assert result.value("false.detector.count") == 3  # the one that is turned over is no face
    assert result.value("false.faces.count") == 2
    assert result.value("false.detector") == pytest.approx(3 / 8)
    assert result.value("false.faces") == pytest.approx(2 / 8)
    assert result.value("images.with") == 1
    assert [case.path[-6:] for case in result.worst] == ["02.png", "07.png"]
    assert len(result.worst[0].predicted) == 2 * 4


@pytest.mark.slow
@pytest.mark.evaluation
def test_on_real_images(aligner, evaluation):
    """Large faces are detected; RESULTS.md has the figures of all 682 images."""
    actual = detection.evaluate(Setup(evaluation, aligner, limit=80))
    assert actual.value("detect.all.ap.iou50.over-96") > 0.85
    assert actual.value("detect.all.ap.iou40.48-96") > 0.6
    assert actual.value("detect.all.ap.iou40.all") > actual.value("detect.all.ap.iou50.all") > 0.2
