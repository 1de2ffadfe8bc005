"""FaceBoxes in torch: one output a prior, the shipped weights read back, and an export that gives torch's numbers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from FaceBoxes import Detector  # noqa: E402
from FaceBoxes.anchors import priors  # noqa: E402
from tddfa.train.detector.networks import (  # noqa: E402
    FaceBoxes,
    blended,
    difference,
    load_onnx,
    map_of_priors,
    to_onnx,
    train_only,
)
from tddfa.train.detector.teacher import Teacher  # noqa: E402


@pytest.fixture(scope="module")
def shipped(root):
    return load_onnx(root / "weights/faceboxes.onnx")


@pytest.fixture
def made():
    """A network with statistics of its own in every BatchNorm."""
    torch.manual_seed(5)
    network = FaceBoxes()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 95), (128, 200), (321, 259)])
def test_there_is_one_output_a_prior(size, made):
    with torch.no_grad():
        logits, offsets = made(torch.zeros(2, 3, *size, dtype=torch.uint8))
    count = len(priors(*size))
    assert logits.shape == (2, count) and offsets.shape == (2, count, 4)


def test_an_untrained_network_detects_few_faces():
    torch.manual_seed(0)
    with torch.no_grad():
        logits, offsets = FaceBoxes()(torch.randint(0, 256, (4, 3, 96, 96)))
    assert 0.05 < logits.sigmoid().mean() < 0.2 and offsets.abs().mean() < 1


def test_the_shipped_weights_give_the_shipped_scores(shipped, root, astronaut):
    teacher = Teacher(root / "weights/faceboxes.onnx")
    image = astronaut[:301, 50:450]  # a size that no map divides
    scores, offsets = teacher(np.ascontiguousarray(image))
    with torch.no_grad():
        logits, places = shipped(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    np.testing.assert_allclose(logits[0].sigmoid().numpy(), scores, atol=1e-4)
    np.testing.assert_allclose(places[0].numpy(), offsets, atol=1e-3)
    assert scores.max() > 0.9


def test_export_equals_torch_and_is_read_back(made):
    data = to_onnx(made, {"model": "faceboxes", "licence": "MIT"}, "notes")
    assert max(difference(made, data)) < 1e-3
    import onnx

    model = onnx.load_from_string(data)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"model": "faceboxes", "licence": "MIT"}
    assert (model.doc_string, [value.name for value in model.graph.output]) == ("notes", ["scores", "offsets"])
    again = difference(FaceBoxes().eval(), data)
    assert max(again) > 0.01  # another network's differences show


def test_a_file_goes_through_load_and_export_unchanged(made, tmp_path):
    path = tmp_path / "detector.onnx"
    path.write_bytes(to_onnx(made, {}))
    network = load_onnx(path)
    assert max(difference(network, path.read_bytes())) < 1e-3
    assert max(difference(network, to_onnx(network, {}))) < 1e-3


def test_the_exported_file_is_a_detector(shipped, two_people):
    teacher = Teacher(to_onnx(shipped, {}))

    def model(image):
        scores, offsets = teacher(image[0])
        return {"scores": scores[None], "offsets": offsets[None]}

    assert len(Detector(model)(two_people)) == 2


def test_an_export_that_differs_is_not_written(made, monkeypatch):
    monkeypatch.setattr("tddfa.train.detector.networks.difference", lambda *_: (0.5, float("nan")))
    with pytest.raises(ValueError, match=r"expected torch's scores within .* got differences of 0\.5 and nan"):
        to_onnx(made, {})


def test_norms_of_a_file_stay_frozen(shipped):
    statistics = {name: value.clone() for name, value in shipped.state_dict().items() if "running" in name}
    shipped.train()
    assert shipped.training and not shipped.conv1.bn.training
    shipped(torch.randint(0, 256, (2, 3, 64, 64)))
    shipped.eval()
    assert all(torch.equal(value, shipped.state_dict()[name]) for name, value in statistics.items())
    assert FaceBoxes().train().conv1.bn.training


def test_other_files_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r"open_mb05\.onnx: expected a FaceBoxes detector .* got 0 of 27 blocks"):
        load_onnx(root / "weights/open_mb05.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((root / "weights/faceboxes.onnx").read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"damaged\.onnx: expected a FaceBoxes detector .* not an ONNX model"):
        load_onnx(damaged)
    with pytest.raises(ValueError, match=r"nowhere\.onnx: expected a FaceBoxes detector"):
        load_onnx(tmp_path / "nowhere.onnx")


def test_the_map_of_a_prior_follows_from_its_size():
    for size in ((64, 96), (130, 257)):
        side = priors(*size)[:, 2]
        assert (map_of_priors(*size) == np.where(side >= 512, 2, np.where(side >= 256, 1, 0))).all()


@pytest.mark.parametrize(("maps", "trained"), [((0,), 27), ((1,), 4), ((2,), 2), ((1, 2), 4)])
def test_only_layers_of_the_chosen_maps_are_trained(maps, trained):
    network = FaceBoxes()
    train_only(network, maps)
    blocks = [block.conv.weight.requires_grad for block in network.modules() if hasattr(block, "conv")]
    heads = [head.weight.requires_grad for head in network.conf]
    assert sum(blocks) == trained and heads == [0 in maps or k in maps for k in range(3)]


def test_an_average_of_statistics_is_refused(made, shipped):
    with pytest.raises(ValueError, match="expected both with frozen BatchNorms"):
        blended(shipped, made, 0.5)


class TestTeacher:
    def test_errors_name_the_file(self, root, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx: no such file; expected a detector"):
            Teacher(tmp_path / "nowhere.onnx")
        (tmp_path / "empty.onnx").write_bytes(b"")
        with pytest.raises(ValueError, match=r"empty\.onnx"):
            Teacher(tmp_path / "empty.onnx")(np.zeros((64, 64, 3), dtype=np.uint8))
        with pytest.raises(ValueError, match=r"open_mb05\.onnx: not a detector"):
            Teacher(root / "weights/open_mb05.onnx")(np.zeros((64, 64, 3), dtype=np.uint8))
