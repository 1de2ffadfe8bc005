"""FaceBoxes in torch: one output per prior box, maps that see coarser ones, and an export with torch's numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from FaceBoxes.anchors import Anchors, decode_rotations  # noqa: E402
from tddfa.onnx_tools.graph import Graph  # noqa: E402
from tddfa.train.detector import export  # noqa: E402
from tddfa.train.detector.export import ImportFailed, difference, load_onnx, to_onnx  # noqa: E402
from tddfa.train.detector.networks import ANCHORS, Architecture, FaceBoxes  # noqa: E402

TINY = Architecture(stem=4, channels=(8, 12, 16, 16), blocks=(1, 0, 1, 0))


@pytest.fixture
def made():
    """A network with statistics of its own in every BatchNorm."""
    torch.manual_seed(5)
    network = FaceBoxes(TINY)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 95), (128, 200), (321, 259)])
def test_there_is_one_output_per_prior_box(size, made):
    with torch.no_grad():
        logits, offsets, points, rotations = made(torch.zeros(2, 3, *size, dtype=torch.uint8))
    count = len(ANCHORS.priors(*size))
    assert logits.shape == (2, count) and offsets.shape == (2, count, 4) and points.shape == (2, count, 10)
    assert rotations is None


def test_an_image_is_padded_with_black_at_the_right_and_at_the_bottom(made):
    image = torch.randint(0, 256, (1, 3, 97, 130))
    padded = torch.nn.functional.pad(image, (0, 30, 0, 31))
    with torch.no_grad():
        for one, other in zip(made(image)[:3], made(padded)[:3], strict=True):
            assert torch.equal(one, other)


def test_an_untrained_network_detects_few_faces():
    torch.manual_seed(0)
    with torch.no_grad():
        logits, offsets, *_ = FaceBoxes(TINY)(torch.randint(0, 256, (4, 3, 96, 96)))
    assert 0.005 < logits.sigmoid().mean() < 0.05 and offsets.abs().mean() < 1


def test_the_finest_map_sees_far_only_from_top_down():
    # a change in one corner, 200 px from the other: beyond the reach of the layers of the finest map
    image = torch.zeros(1, 3, 256, 256)
    changed = image.clone()
    changed[..., :8, :8] = 255
    for top_down in (True, False):
        torch.manual_seed(1)
        architecture = Architecture(stem=4, channels=(8, 12, 16, 16), blocks=(1, 3, 3, 0), top_down=top_down)
        network = FaceBoxes(architecture).double().eval()
        with torch.no_grad():
            first, second = (network(each).logits[0, :1024].reshape(32, 32) for each in (image, changed))
        reach = (first != second).nonzero().max()
        assert (reach >= 16) == top_down


@pytest.mark.parametrize("rotations", [True, False])
@pytest.mark.parametrize("top_down", [True, False])
def test_the_exported_file_gives_the_outputs_of_torch(top_down, rotations):
    torch.manual_seed(2)
    network = FaceBoxes(
        Architecture(stem=4, channels=(8, 12), blocks=(1, 1), top_down=top_down, rotations=rotations),
        Anchors(ANCHORS.maps[:2]),
    )
    data = to_onnx(network, {"model": "test"}, "notes")
    assert max(difference(network, data).values()) < 1e-4
    model = onnx.load_from_string(data)
    metadata = {each.key: each.value for each in model.metadata_props}
    assert [each.name for each in model.graph.output] == ["scores", "offsets", "points", *["rotations"] * rotations]
    assert metadata["model"] == "test" and Anchors.from_metadata(metadata) == network.anchors


def test_a_wrong_export_is_refused(made, monkeypatch):
    monkeypatch.setattr(export, "difference", lambda *_: {"scores": 0.0, "offsets": float("nan"), "points": 0.0})
    with pytest.raises(ValueError, match="expected torch's outputs within"):
        to_onnx(made, {})


def test_maps_and_anchors_must_fit():
    with pytest.raises(ValueError, match="expected a map of stride 8, 16"):
        FaceBoxes(TINY, Anchors())
    with pytest.raises(ValueError, match="channels, blocks: expected the same length"):
        Architecture(channels=(8,), blocks=(1, 2))
    with pytest.raises(ValueError, match="odd stem_side"):
        Architecture(stem_side=4)


def test_the_shipped_network_has_the_anchors_of_the_training(root):
    model = onnx.load(str(root / "weights/faceboxes.onnx"))
    assert Anchors.from_metadata({each.key: each.value for each in model.metadata_props}) == ANCHORS


def test_every_size_of_face_has_a_prior_box():
    # the largest distance in size that a prior box can be from a face of the same place
    from tddfa.train.detector.matching import NO_FACE, match

    prior = ANCHORS.priors(1024, 1024)
    for side in np.geomspace(11, 900, 30):
        box = np.array([[512 - side / 2, 512 - side / 2, 512 + side / 2, 512 + side / 2]])
        assert (match(prior, box) != NO_FACE).sum() >= 1


@pytest.mark.parametrize("top_down", [True, False])
def test_an_exported_file_is_read_back_with_frozen_norms(made, top_down, tmp_path):
    torch.manual_seed(7)
    first = FaceBoxes(
        Architecture(stem=8, channels=(16, 24, 24), blocks=(1, 0, 1), top_down=top_down, rotations=True),
        Anchors(ANCHORS.maps[:3]),
    )
    path = tmp_path / "detector.onnx"
    path.write_bytes(to_onnx(first, {}))
    again = load_onnx(path)
    assert again.frozen_norms and again.architecture == first.architecture
    image = torch.randint(0, 256, (1, 3, 97, 130))
    first.eval()
    with torch.no_grad():
        for one, other in zip(first(image), again(image), strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    again.train()
    assert not again.stem.bn.training and again.stem.training


def test_rotations_are_added_to_a_trained_network(made):
    added = made.with_rotations().eval()
    image = torch.randint(0, 256, (1, 3, 97, 130))
    with torch.no_grad():
        before, after = made(image), added(image)
    for one, other in zip(before[:3], after[:3], strict=True):
        assert torch.equal(one, other)
    upright = decode_rotations(after.rotations[0].numpy())
    assert np.abs(upright - np.eye(3)).max() < 0.7, "untrained heads give upright faces"


def test_added_blocks_change_nothing_until_they_are_trained(made):
    added = made.with_blocks([0, 1, 0, 2])
    assert added.architecture.blocks == tuple(np.add(made.architecture.blocks, [0, 1, 0, 2]))
    image = torch.randint(0, 256, (1, 3, 97, 130))
    with torch.no_grad():
        for one, other in zip(made.eval()(image)[:3], added.eval()(image)[:3], strict=True):
            assert torch.equal(one, other)
    added(image).logits.sum().backward()
    assert added.stages[1][-1].point.conv.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="added: expected 4 numbers of 0 or more"):
        made.with_blocks([1])


@pytest.mark.parametrize("changed", ['"stem": 1000000000000', '"blocks": [1000000000000', '"stem": -1'])
def test_a_file_that_describes_a_network_of_another_size_is_refused_at_once(tmp_path, changed):
    """Before it takes memory, or time to build."""
    onnx = pytest.importorskip("onnx")
    tiny = FaceBoxes(Architecture(stem=2, channels=(4,), blocks=(0,)), Anchors(ANCHORS.maps[:1]))
    model = onnx.load_from_string(to_onnx(tiny.eval(), {}))
    (described,) = (each for each in model.metadata_props if each.key == "network")
    key = changed.partition(" ")[0]
    described.value = re.sub(rf"{key} \[?\d+", changed, described.value)
    (tmp_path / "d.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ImportFailed, match=r"d.onnx: expected a detector.*(describes|negative|channels over 0)"):
        load_onnx(tmp_path / "d.onnx")


@pytest.mark.parametrize("bits", [0x7F800000, 0x7FC00000, 0x7F800001], ids=["inf", "nan", "signalling"])
def test_weights_that_are_no_numbers_are_refused(made, tmp_path, bits):
    """Without NumPy's warning about a NaN that signals."""
    graph = Graph(to_onnx(made, {}))
    name = next(node.input[1] for node in graph.nodes if node.op_type == "Conv")
    graph.constants[name] = graph.constants[name].copy()
    graph.constants[name].view(np.uint32).flat[0] = bits
    (tmp_path / "d.onnx").write_bytes(graph.to_bytes())
    with pytest.raises(ImportFailed, match=r"d.onnx: expected a detector.*finite weights"):
        load_onnx(tmp_path / "d.onnx")


def test_another_file_is_refused(tmp_path, root):
    path = tmp_path / "other.onnx"
    path.write_bytes(b"nothing")
    for other in (path, root / "weights/open_mb05.onnx", tmp_path / "none.onnx"):
        with pytest.raises(ImportFailed, match=f"{other.name}: expected a detector"):
            load_onnx(other)
