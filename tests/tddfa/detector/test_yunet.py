import cv2
import numpy as np
import pytest

from tddfa.detector import YuNet
from tddfa.model.runtime import Model


class FakeNetwork:
    """Predicts a face in given cells: stride -> row, column, class score, objectness; and records its input."""

    def __init__(self, **cells):
        self.cells, self.seen = cells, []

    def __call__(self, batch):
        self.seen.append(batch)
        outputs = {}
        for stride in (8, 16, 32):
            rows, columns = batch.shape[2] // stride, batch.shape[3] // stride
            maps = {name: np.zeros((1, rows * columns, k), np.float32) for name, k in self.SIZES.items()}
            for row, column, of_class, objectness in self.cells.get(f"s{stride}", ()):
                at = row * columns + column
                maps["cls"][0, at], maps["obj"][0, at] = of_class, objectness
                maps["bbox"][0, at] = [0.5, 0.25, np.log(4), np.log(6)]
                maps["kps"][0, at] = [-1, 0, 1, 0, 0, 1, -1, 2, 1, 2]
            outputs |= {f"{name}_{stride}": values for name, values in maps.items()}
        return outputs

    SIZES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def test_a_cell_is_decoded():
    found = YuNet(FakeNetwork(s16=[(3, 5, 0.9, 0.4)]))(np.zeros((100, 150, 3), np.uint8))
    # centre (5.5, 3.25), size (4, 6), points from the corner (5, 3) of the cell; in cells of 16 px
    np.testing.assert_allclose(found.xyxy, [[56, 4, 120, 100]], rtol=1e-5)
    np.testing.assert_allclose(found.points, [[[64, 48], [96, 48], [80, 64], [64, 80], [96, 80]]])
    np.testing.assert_allclose(found.scores, [0.6])


def test_the_input_is_bgr_planes_padded_to_whole_cells(rng):
    image = rng.integers(0, 255, (70, 33, 3), dtype=np.uint8)
    network = FakeNetwork()
    assert len(YuNet(network)(image)) == 0
    (batch,) = network.seen
    assert (batch.shape, batch.dtype) == ((1, 3, 96, 64), np.float32)
    np.testing.assert_array_equal(batch[0, :, :70, :33], image.transpose(2, 0, 1))
    assert batch[0, :, 70:].max() == batch[0, :, :, 33:].max() == 0


def test_thresholds_and_limits():
    cells = {"s8": [(2, 2, 0.9, 0.9), (2, 3, 0.8, 0.8)], "s32": [(4, 4, 0.49, 1.0), (4, 5, 1.5, 0.3)]}
    image = np.zeros((320, 320, 3), np.uint8)
    np.testing.assert_allclose(YuNet(FakeNetwork(**cells))(image).scores, [0.9, 0.7])
    np.testing.assert_allclose(YuNet(FakeNetwork(**cells), score=0.75)(image).scores, [0.9])
    assert len(YuNet(FakeNetwork(**cells), iou=1)(image)) == 4
    assert len(YuNet(FakeNetwork(**cells), iou=1, max_faces=3)(image)) == 3
    network = FakeNetwork()
    YuNet(network, max_area=80 * 80, small_area=32 * 32, tiles="auto")(np.zeros((900, 900, 3), np.uint8))
    assert [batch.shape[2:] for batch in network.seen[:2]] == [(96, 96), (32, 32)]
    assert len(network.seen) > 10


@pytest.mark.parametrize(
    "value",
    [{"score": -1}, {"iou": 0}, {"max_area": 0}, {"small_area": -5}, {"tiles": "on"}, {"max_faces": 0}],
)
def test_bad_limits_are_named(value):
    with pytest.raises(ValueError, match=rf"{next(iter(value))}: expected"):
        YuNet(FakeNetwork(), **value)


def test_another_network_is_refused():
    with pytest.raises(
        ValueError, match=r"model: expected YuNet's output cls_8 \(1, 96, 1\), got outputs scores, offsets"
    ):
        YuNet(lambda batch: {"scores": batch, "offsets": batch})(np.zeros((64, 96, 3), np.uint8))


@pytest.mark.teachers
@pytest.mark.evaluation
def test_opencv_gives_the_same(yunet_file, evaluation, root):
    """OpenCV's decoder, written independently, on real photos."""
    ours = YuNet(Model(yunet_file, "cpu"), max_area=10**9)
    theirs = cv2.FaceDetectorYN.create(str(yunet_file), "", (320, 320), 0.5, 0.3, 5000)
    photos = [*sorted((evaluation / "detect").glob("*.jpg"))[:20], *(root / "examples/inputs").glob("*.jpg")]
    faces = 0
    for path in photos:
        image = cv2.imread(str(path))
        theirs.setInputSize(image.shape[1::-1])
        rows = theirs.detect(image)[1]
        rows = np.zeros((0, 15), np.float32) if rows is None else rows[np.argsort(-rows[:, 14], kind="stable")]
        found = ours(image)
        assert len(found) == len(rows), path.name
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        np.testing.assert_allclose(found.xyxy, corners, atol=5e-3)
        np.testing.assert_allclose(found.points, rows[:, 4:14].reshape(-1, 5, 2), atol=5e-3)
        np.testing.assert_allclose(found.scores, rows[:, 14], atol=1e-4)
        faces += len(rows)
    assert faces > 50
