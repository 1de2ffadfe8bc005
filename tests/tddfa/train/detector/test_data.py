"""What the detector's data hold: every layout of boxes, landmarks on photos, crops, and which part of a folder."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from FaceBoxes import Detections
from tddfa.model.face_model import FaceModel
from tddfa.train.data.shards import Labels, write_shard
from tddfa.train.detector import data as detector_data
from tddfa.train.detector.data import boxed_images, merged, source
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.predictions import none, write_predictions


def write_image(path, value=90, size=(60, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, dtype=np.uint8))


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture
def lines(tmp_path):
    for i in range(10):
        write_image(tmp_path / f"p{i}.png", 10 * i)
        (tmp_path / f"p{i}.txt").write_text(f"{i} 5 {i + 20} 30\n")
    return tmp_path


def test_text_files_beside_images(lines):
    photos = source(lines, "boxes", 0, 1, None)
    assert len(photos) == 10
    labelled = photos[3]
    assert labelled.image[0, 0].tolist() == [30, 30, 30] and labelled.faces.xyxy.tolist() == [[3, 5, 23, 30]]


def test_a_part_of_a_folder_is_by_name(lines):
    kept, rest = source(lines, "boxes", 0, 0.7, None), source(lines, "boxes", 0.7, 1, None)
    names = [[path.name for path in part.paths] for part in (kept, rest)]
    assert [len(part) for part in names] == [7, 3] and names[1] == ["p7.png", "p8.png", "p9.png"]
    with pytest.raises(FileNotFoundError, match=r"expected images of kind 'boxes' from 0 to 0\.05, got none"):
        source(lines, "boxes", 0, 0.05, None)


def test_voc(tmp_path):
    write_image(tmp_path / "JPEGImages/a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(
        "<annotation><object><difficult>1</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax><ymax>44</ymax>"
        "</bndbox></object></annotation>"
    )
    (images,) = boxed_images(tmp_path)
    assert images.xyxy.tolist() == [[3, 4, 30, 44]] and images.ignored.tolist() == [True]


def test_wider_in_its_own_folders(tmp_path):
    for part in ("train", "val"):
        write_image(tmp_path / f"WIDER_{part}/images/0--Parade/{part}.png")
        label = tmp_path / f"wider_face_split/wider_face_{part}_bbx_gt.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(
            f"0--Parade/{part}.png\n2\n10 12 20 25 0 0 0 0 0 0\n1 1 4 4 2 0 0 1 2 0\n0--Parade/gone.png\n0\n"
            "0 0 0 0 0 0 0 0 0 0\n"
        )
    for part in ("train", "val"):
        (images,) = boxed_images(tmp_path, part)
        assert images.path.name == f"{part}.png"
        assert images.xyxy.tolist() == [[10, 12, 30, 37], [1, 1, 5, 5]] and images.ignored.tolist() == [False, True]
    (path,) = source(tmp_path, "boxes", 0, 1, None).paths
    assert path.name == "train.png"


def test_folders_without_labels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected images with boxes: \.txt or \.xml beside them"):
        boxed_images(tmp_path)
    for kind in ("landmarks", "empty"):
        with pytest.raises(FileNotFoundError, match="expected images"):
            source(tmp_path, kind, 0, 1, None)
    with pytest.raises(ValueError, match="expected predictions of a teacher for images without labels"):
        source(tmp_path, "unlabelled", 0, 1, None)
    write_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="expected images of kind 'landmarks', got none"):
        source(tmp_path, "landmarks", 0, 1, None)


FACE = np.array([[40.0, 50], [60, 50], [50, 62], [43, 74], [57, 74]])


def detections(*boxes, scores=None):
    points = np.tile(FACE, (len(boxes), 1, 1))
    return Detections(np.reshape(boxes, (-1, 4)), np.full(len(boxes), 0.9) if scores is None else scores, points)


def test_a_labelled_face_keeps_its_box_and_takes_the_points_of_its_prediction():
    labelled = Faces.of_boxes([[30, 40, 70, 90], [200, 200, 220, 220]])
    faces = merged(labelled, detections([32, 30, 70, 90]), complete=True)
    np.testing.assert_allclose(faces.xyxy, [[30, 40, 70, 90], [200, 200, 220, 220]], atol=1e-5)
    np.testing.assert_allclose(faces.points[0], FACE)
    assert np.isnan(faces.points[1]).all() and not faces.ignored.any()


def test_a_labelled_face_takes_the_rotation_of_its_prediction():
    labelled = Faces.of_boxes([[30, 40, 70, 90], [200, 200, 220, 220]])
    turned = np.array([[[0, 1, 0], [-1, 0, 0], [0, 0, 1]]])
    known = replace(labelled.take(np.array([0])), rotations=np.eye(3)[None])
    found = replace(detections([32, 30, 70, 90], [300, 300, 340, 350]), rotations=np.concatenate([turned, -turned]))
    faces = merged(labelled, found, complete=False)
    np.testing.assert_allclose(faces.rotations[[0, 2]], found.rotations)
    assert np.isnan(faces.rotations[1]).all()
    np.testing.assert_allclose(merged(known, found, complete=False).rotations[0], np.eye(3))


def test_other_predictions_begin_at_the_lower_forehead():
    (box,) = merged(Faces.none(), detections([0, 0, 100, 200]), complete=False).xyxy
    np.testing.assert_allclose(box, [-2, 37, 103, 212], atol=1)


def test_other_predictions_are_faces_only_where_labels_are_incomplete():
    found = detections([0, 0, 20, 20], [100, 0, 120, 20], [200, 0, 220, 20], scores=[0.9, 0.5, 0.1])
    assert merged(Faces.none(), found, complete=False).ignored.tolist() == [False, True]
    assert merged(Faces.none(), found, complete=True).ignored.tolist() == [True, True]


def test_annotated_points_are_kept():
    labelled = Faces([[50, 65, 40, 50, 0]], FACE[None] + 1, [False])
    np.testing.assert_allclose(merged(labelled, detections([30, 40, 70, 90]), complete=False).points[0], FACE + 1)
    assert len(merged(labelled, none(), complete=False)) == 1


def test_landmarks_beside_images(tmp_path, rng):
    write_image(tmp_path / "deeper/a.jpg")
    points = rng.uniform(10, 50, (68, 2))
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 1)
    (tmp_path / "deeper/a.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    faces = source(tmp_path, "landmarks", 0, 1, None)[0].faces
    np.testing.assert_allclose(faces.points[0, 2], points[30], atol=2e-3)
    np.testing.assert_allclose(faces.points[0, 0], points[36:42].mean(axis=0), atol=2e-3)
    assert not faces.ignored.any()


def test_unlabelled_images_without_a_certain_face_are_left_out(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png")
    found = [("a.png", detections([5, 5, 40, 50])), ("b.png", detections([5, 5, 40, 50], scores=[0.5]))]
    path = write_predictions(tmp_path / "p.npz", found)
    photos = source(tmp_path, "unlabelled", 0, 1, None, path)
    assert [each.name for each in photos.paths] == ["a.png"] and len(photos[0].faces) == 1
    empty = source(tmp_path, "empty", 0, 1, None)
    assert len(empty) == 3 and not len(empty[0].faces)


class TestCrops:
    @pytest.fixture
    def folder(self, tmp_path, model):
        rng = np.random.default_rng(1)
        camera = np.zeros((4, 3, 4), dtype=np.float32)
        camera[:, 0, 0], camera[:, 1, 1], camera[:, 2, 2], camera[:, :2, 3] = 6, -6, 6, 80
        landmarks = np.full((4, 68, 2), np.nan, dtype=np.float32)
        landmarks[1] = rng.uniform(40, 120, (68, 2))
        labels = Labels.of(
            camera, np.zeros((4, model.shape_count)), np.zeros((4, model.expression_count)), "made",
            validation=[False, False, False, True], landmarks=landmarks,
            has_params=[True, True, False, True], face=[True, True, False, True],
        )  # fmt: skip
        done, data = cv2.imencode(".jpg", np.full((160, 160, 3), 100, dtype=np.uint8))
        assert done
        write_shard(tmp_path, [data.tobytes()] * 4, labels)
        return tmp_path

    def test_faces_are_those_of_the_labels(self, folder, model):
        crops = source(folder, "crops", 0, 1, model)
        assert len(crops) == 3
        zeros = np.zeros(model.shape_count), np.zeros(model.expression_count)
        mean = model.landmarks(*(np.asarray(z, dtype=np.float32) for z in zeros))
        nose = np.array([80, 80]) + mean[30, :2] * [6, -6]
        np.testing.assert_allclose(crops[0].faces.points[0, 2], nose, atol=1e-3)
        assert crops[1].faces.points.min() >= 40  # the annotated landmarks, not those of the coefficients
        assert not len(crops[2].faces)

    def test_validation_crops_are_held_out(self, folder, model):
        assert len(source(folder, "crops", 0, 1, model, validation=True)) == 1

    def test_they_need_a_face_model(self, folder):
        with pytest.raises(ValueError, match="expected the face_model of the crops' labels"):
            source(folder, "crops", 0, 1, None)


def test_every_kind_is_read(lines, model):
    assert set(detector_data.KINDS) == {"boxes", "landmarks", "crops", "unlabelled", "empty"}


@pytest.mark.evaluation
def test_boxes_of_real_landmarks_overlap_detections_of_the_shipped_detector(evaluation, root):
    from tddfa import Aligner
    from tddfa.geometry.boxes import box_iou

    detector = Aligner.load("open_mb05", device="cpu").detector
    photos = source(evaluation / "lfpw", "landmarks", 0, 0.6, None)
    images = []
    for i in range(0, len(photos), len(photos) // 8):
        labelled = photos[i]
        images.append(box_iou(labelled.faces.xyxy, detector(labelled.image).xyxy).max(initial=0))
        low, high = labelled.landmarks.min(axis=0), labelled.landmarks.max(axis=0)
        assert box_iou(labelled.faces.xyxy[:1], np.concatenate([low, high])[None])[0, 0] > 0.75
    assert np.median(images) > 0.6
