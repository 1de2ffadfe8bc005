import json
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from PIL import Image

import FaceBoxes
from FaceBoxes import Detections
from tddfa import Aligner, Camera, Config, Detector, TddfaError
from tddfa.detector import BoxFile, YuNet
from tddfa.geometry.boxes import box_iou
from tddfa.geometry.rotation import VIEW_TO_IMAGE
from tddfa.model.assets import config_path
from tddfa.model.config import ConfigError

ASTRONAUT = [173, 70, 273, 192]


def of(*boxes, scores=None, points=None):
    """A detector that gives these boxes."""
    scores = np.linspace(0.9, 0.6, len(boxes)) if scores is None else scores
    return Detector(lambda image: Detections(np.reshape(boxes, (-1, 4)), scores, points))


class TestCall:
    def test_a_function_sees_bgr(self, astronaut, root):
        seen = []
        detector = Detector(lambda image: seen.append(image) or Detections(np.zeros((0, 4)), []))
        file = root / "examples/inputs/astronaut.jpg"
        for image, color in ((astronaut, "bgr"), (astronaut[..., ::-1], "rgb"), (file, "bgr"), (str(file), "bgr")):
            assert len(detector(image, color=color)) == 0
        with Image.open(file) as image:
            detector(image)
        for image in seen:
            assert np.abs(image.astype(int) - astronaut).max() <= 1

    def test_faces_are_sorted_and_those_without_an_area_are_dropped(self, astronaut):
        points = np.arange(3 * 10).reshape(3, 5, 2)
        found = of([0, 0, 10, 10], [30, 0, 20, 10], [5, 5, 20, 20], scores=[0.3, 0.9, 0.8], points=points)(astronaut)
        assert found.xyxy.tolist() == [[5, 5, 20, 20], [0, 0, 10, 10]]
        assert found.points[:, 0, 0].tolist() == [20, 0]

    @pytest.mark.parametrize("result", [None, [[1, 2, 3, 4]], np.zeros((1, 5))])
    def test_another_result_is_refused(self, astronaut, result):
        with pytest.raises(TypeError, match="detector: expected a function that returns Detections, got"):
            Detector(lambda image: result)(astronaut)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"xyxy": [[0, 0, np.nan, 10]]}, "finite boxes, scores, points, rotations and translations, got NaN"),
            ({"translations": [[0, np.inf, 9]]}, "finite boxes, scores, points, rotations and translations, got NaN"),
            ({"scores": [1.5]}, "scores from 0 to 1, got 1.5 to 1.5"),
            ({"scores": [-0.1]}, "scores from 0 to 1, got -0.1 to -0.1"),
            ({"rotations": np.zeros((1, 3, 3))}, r"rotations, got \[\[0.0, 0.0, 0.0\], "),
            ({"rotations": np.diag([1, 1, -1])[None]}, r"rotations, got \[\[1.0, 0.0, 0.0\], "),
            ({"rotations": np.full((1, 3, 3), 1e38)}, r"rotations, got "),
        ],
    )
    def test_what_no_detector_finds_is_refused(self, astronaut, change, message):
        found = Detections(**{"xyxy": [[0, 0, 9, 9]], "scores": [0.5], **change})
        with pytest.raises(ValueError, match=f"detector: expected {message}"):
            Detector(lambda image: found)(astronaut)

    def test_rounded_numbers_are_accepted(self, astronaut):
        rotation = np.round([[0.8660254, -0.5, 0], [0.5, 0.8660254, 0], [0, 0, 1]], 2)
        found = Detections([[0, 0, 9, 9]], [1 + 1e-6], rotations=rotation[None])
        assert Detector(lambda image: found)(astronaut).scores.tolist() == [1]

    def test_what_is_no_function_and_no_image_is_refused(self):
        with pytest.raises(TypeError, match=r"find: expected a function .* got str"):
            Detector("yunet")
        with pytest.raises(TypeError, match="image: expected"):
            of()(None)


class TestOptions:
    def test_they_are_those_of_the_function(self, aligner, astronaut):
        strict = aligner.detector.with_options(score=0.99, iou=0.5)
        assert (strict.score, strict.find.iou, strict.tiles) == (0.99, 0.5, "auto")
        assert aligner.detector.score == 0.25, "the original has changed"
        assert len(strict(astronaut)) <= len(aligner.detector(astronaut))
        assert aligner.detector.with_options() is aligner.detector

    def test_of_ones_own(self):
        @dataclass(frozen=True)
        class Mine:
            score: float = 0.5

            def __call__(self, image):
                return Detections([[0, 0, 9, 9]], [self.score])

        mine = Detector(Mine()).with_options(score=0.7)
        assert mine.score == pytest.approx(0.7)
        assert mine.tiles is None
        with pytest.raises(ValueError, match="iou: this detector has no such setting"):
            mine.with_options(iou=0.4)

    def test_a_function_has_none(self):
        assert of().score is None
        with pytest.raises(ValueError, match="score: this detector has no such setting"):
            of().with_options(score=0.4)


class TestConfigs:
    """The section ``detector`` of a config chooses."""

    @pytest.fixture
    def config(self, tmp_path):
        def write(detector):
            (tmp_path / "mine.yml").write_text(f"base: open_mb05\ndetector: {detector}\n")
            return tmp_path / "mine.yml"

        return write

    def test_ours_gives_points_and_rotations(self, astronaut, aligner):
        detector = Detector.load("open_mb05", device="cpu")
        assert [stride for stride, _ in detector.find.layout.maps] == [8, 16, 32, 64]
        (face,) = aligner(astronaut)
        found = detector(astronaut)
        best = found[:1]
        assert best.scores[0] > 0.7
        corners = face.landmarks[[48, 54], :2]
        np.testing.assert_allclose(best.points[0, 3:], corners, atol=0.1 * np.ptp(face.landmarks[:, 0]))
        low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
        assert box_iou(best.xyxy, np.concatenate([low, high])[None])[0, 0] > 0.7
        predicted = Camera(np.column_stack([VIEW_TO_IMAGE @ best.rotations[0], np.zeros(3)])).euler_degrees()
        np.testing.assert_allclose(predicted, face.camera.euler_degrees(), atol=12)

    def test_poses(self, astronaut, aligner):
        found = Detector.load("open_mb05", device="cpu", poses=True)(astronaut)
        (face,) = aligner(astronaut)
        pose = aligner.decoder.six_dof(face)
        assert np.linalg.norm(found.translations[0] - pose.translation) < 0.15 * pose.distance
        (posed,) = aligner.detect_poses(astronaut)
        assert np.abs(posed.landmarks[:, :2] - face.landmarks[:, :2]).mean() < 0.15 * np.ptp(face.landmarks[:, 0])

    def test_ours(self, astronaut, aligner):
        detector = Detector.load("open_mb05", device="cpu")
        assert isinstance(detector.find, FaceBoxes.Detector)
        np.testing.assert_array_equal(detector(astronaut).xyxy, aligner.detector(astronaut).xyxy)
        settings = Config.load(config_path("open_mb05")).detector
        for name in ("score", "iou", "max_area", "min_area", "small_area", "tiles", "max_candidates", "max_faces"):
            assert getattr(detector.find, name) == getattr(settings, name)
        assert Detector.load("open_mb05", tiles="off").tiles == "off"
        eight = Detector.load("open_mb05", precision="int8")
        assert eight.find.model.path.name == "faceboxes_int8.onnx"

    @pytest.mark.parametrize(
        ("key", "value"), [("max_faces", 99999999999), ("max_height", 10**400), ("max_candidates", 2**31)]
    )
    def test_limits_beyond_the_numbers_of_native_code_are_refused(self, config, key, value):
        network = Config.load(config_path("open_mb05")).detector.model
        expected = rf"detector\.{key}: expected a number of at most 2147483647, got "
        with pytest.raises(ConfigError, match=expected):
            Detector.load(config(f"{{model: {network}, {key}: {value}}}"))
        Detector.load(config(f"{{model: {network}, {key}: 720}}"))

    def test_boxes_by_name(self, config, tmp_path, root, astronaut):
        """Names come from the file, from Pillow, or from the caller."""
        photo = root / "examples/inputs/astronaut.jpg"
        (tmp_path / "boxes.json").write_text(json.dumps({"astronaut.jpg": [ASTRONAUT]}))
        aligner = Aligner.load(config("{kind: boxes, boxes: boxes.json}"), device="cpu")
        assert isinstance(aligner.detector.find, BoxFile)
        with Image.open(photo) as pillow:
            faces = [aligner(photo), aligner(pillow), aligner(astronaut, name="astronaut.jpg"), *aligner.batch([photo])]
        for (face,) in faces:
            np.testing.assert_array_equal(face.box, ASTRONAUT)
        with pytest.raises(TddfaError, match=r"boxes\.json: expected an image with a name"):
            aligner(astronaut)

    def test_boxes_of_every_image(self, config, tmp_path, astronaut):
        (tmp_path / "boxes.txt").write_text(" ".join(map(str, ASTRONAUT)))
        aligner = Aligner.load(config("{kind: boxes, boxes: boxes.txt}"), device="cpu")
        (face,) = aligner(astronaut)
        np.testing.assert_array_equal(face.box, ASTRONAUT)
        assert aligner(np.full_like(astronaut, 127)) == [], "min_score keeps what is no face"

    @pytest.mark.teachers
    def test_yunet(self, config, yunet_file, two_people):
        name = json.dumps(str(yunet_file))
        aligner = Aligner.load(config(f"{{kind: yunet, model: {name}, score: 0.6}}"), device="cpu")
        assert isinstance(aligner.detector.find, YuNet) and aligner.detector.score == 0.6
        found = aligner.detector(two_people)
        assert len(found) == len(aligner(two_people)) == 2
        # the right eye is at the left, the mouth below the nose, all inside the box
        for box, (right, left, nose, *mouth) in zip(found.xyxy, found.points, strict=True):
            assert box[0] < right[0] < left[0] < box[2]
            assert box[1] < right[1] < nose[1] < min(corner[1] for corner in mouth) < box[3]
            assert mouth[0][0] < mouth[1][0]

    @pytest.mark.upstream
    def test_3ddfa_v2_s(self, config, upstream, monkeypatch, tmp_path, two_people):
        """The detector of 3DDFA_V2 before our regressor."""
        from tddfa.compat import fetch

        pytest.importorskip("onnx")
        monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))
        fetch.fetch(upstream)
        aligner = Aligner.load(config(fetch.WITH_OURS), device="cpu")
        assert (aligner.detector.find.max_area, aligner.detector.score) == (None, 0.5)
        assert aligner.regressor.path.name == "open_mb05.onnx"
        assert len(aligner(two_people)) == 2


class TestAligner:
    def test_it_takes_any_function(self, aligner, astronaut):
        mine = Aligner.load("open_mb05", device="cpu", detector=lambda image: Detections([ASTRONAUT], [0.5]))
        assert isinstance(mine.detector, Detector)
        (face,) = mine(astronaut)
        np.testing.assert_array_equal(face.box, ASTRONAUT)
        detector = of(ASTRONAUT)
        assert Aligner.load("open_mb05", device="cpu", detector=detector).detector is detector

    def test_a_wrong_result_is_named(self, aligner, astronaut):
        mine = Aligner.load("open_mb05", device="cpu", detector=lambda image: [ASTRONAUT])
        with pytest.raises(TypeError, match="detector: expected a function that returns Detections, got list"):
            mine(cv2.flip(astronaut, 1))
