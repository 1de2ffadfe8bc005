import numpy as np
import pytest

from builders import without_volumes
from FaceBoxes import Detections
from tddfa import Aligner
from tddfa.bench import material
from tddfa.bench.stages import BATCHES, MANY, Context, chosen, stages, with_threads
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.model.runtime import Model
from tddfa.outputs import KINDS


@pytest.fixture(scope="module")
def context(aligner, bench_material, tmp_path_factory):
    return Context(aligner, bench_material, tmp_path_factory.mktemp("scratch"))


def test_boxes_match_the_faces_of_the_images(aligner, bench_material):
    """The detector finds the large face and most of the small faces at the given boxes."""
    one, many = material.read([bench_material.one, bench_material.many])
    assert one.shape == many.shape == (720, 1280, 3)
    assert len(bench_material.one_boxes) == 1
    assert len(bench_material.many_boxes) == MANY
    for image, boxes, minimum in ((one, bench_material.one_boxes, 1), (many, bench_material.many_boxes, 18)):
        expected = np.array(boxes)
        detected = aligner.detector(image).xyxy
        centers = (detected[:, :2] + detected[:, 2:]) / 2
        distances = np.linalg.norm((expected[:, None, :2] + expected[:, None, 2:4]) / 2 - centers, axis=-1)
        assert (distances.min(axis=1) < 0.25 * (expected[:, 2] - expected[:, 0])).sum() >= minimum
        aligned = aligner(image, boxes=expected)
        assert min(face.score for face in aligned) > 0.9


def test_the_frames_repeat_without_a_jump(bench_material):
    names = [path.name for path in bench_material.frames]
    numbers = [int(name[6]) for name in names]
    assert max(abs(a - b) for a, b in zip(numbers, [*numbers[1:], numbers[0]], strict=True)) == 1


def test_material_round_trip(bench_material):
    assert material.load(bench_material.one.parent) == bench_material


def test_names_are_unique_and_include_every_kind():
    names = [stage.name for stage in stages(gpu=True)]
    assert len(names) == len(set(names))
    for kind in without_volumes(KINDS):
        assert kind in names or {f"{kind}.1", f"{kind}.{MANY}"} <= set(names), kind
    assert {f"network.{batch}" for batch in BATCHES} <= set(names)
    assert "network.256" in names
    assert "network.256" not in [stage.name for stage in stages()]


@pytest.mark.parametrize("name", [stage.name for stage in stages()])
def test_every_stage_can_be_repeated(context, name):
    (stage,) = chosen(stages(), name)
    run = stage.make(context)
    run()
    run()


def test_results_of_stages(context):
    def run(name):
        (stage,) = chosen(stages(), name)
        return stage.make(context)()

    assert len(run(f"align.{MANY}")) == MANY
    assert len(run("align.1")) == 1
    assert run("network.8")["camera"].shape == (8, 3, 4)
    assert len(run("detect")) >= 18
    # one view, as the whole call has several
    assert 18 <= len(run("detect.nms")) <= len(run("detect.decode"))
    assert run("detect.resize").shape == (661, 1175, 3)
    assert run("3d.1").shape == (720, 1280, 3)
    assert run("rasterise").mask.mean() > 0.4
    assert run("interpolate").shape[-1] == 3
    assert np.allclose(run("decode.sparse"), context.faces[1][0].landmarks, atol=1e-3)
    assert run("obj")[0].stat().st_size > 100_000
    assert len(run("video.step")) == 1


def test_patterns():
    every = stages()
    assert [stage.name for stage in chosen(every, "crop, 3d.*")] == ["crop", "3d.1", f"3d.{MANY}"]
    assert chosen(every, "*") == chosen(every, "") == every
    with pytest.raises(ValueError, match=r"'4d' matches none of default\.1"):
        chosen(every, "crop,4d")


def test_a_copy_with_another_number_of_threads_gives_the_same_result(aligner, astronaut):
    one = with_threads(aligner, 1)
    assert one.regressor is not aligner.regressor
    assert isinstance(one.regressor, Model)
    assert one.detector.score == aligner.detector.score
    for name in ("min_score", "crop", "refine", "flip", "visibility", "rotations", "sure_score"):
        assert getattr(one, name) == getattr(aligner, name), name
    assert np.allclose(one(astronaut)[0].landmarks, aligner(astronaut)[0].landmarks, atol=0.02)


def test_the_network_of_jvcr_gets_the_threads_too():
    aligner = Aligner.load("jvcr_s", device="cpu", threads=1)
    two = with_threads(aligner, 2)
    assert isinstance(two.regressor, JvcrRegressor)
    assert two.regressor.network is not aligner.regressor.network
    # what makes the network again in another process
    assert two.regressor.network.__reduce__()[1] == (aligner.regressor.network.path, "cpu", 2)
    assert two.regressor.face_model is aligner.regressor.face_model


def test_networks_not_loaded_from_files_are_shared(aligner):
    plain = Aligner(aligner.regressor.__call__, aligner.decoder)
    assert with_threads(plain, 1).regressor is plain.regressor
    assert with_threads(plain, 1).detector is None


def test_detector_stages_report_a_missing_detector(aligner, bench_material, tmp_path):
    context = Context(Aligner(aligner.regressor, aligner.decoder), bench_material, tmp_path)
    for stage in chosen(stages(), "detect*"):
        with pytest.raises(ValueError, match="no detector"):
            stage.make(context)()


def test_of_another_detector_the_whole_call_is_timed(aligner, bench_material, tmp_path):
    def find(image):
        return Detections([[0, 0, 9, 9]], [0.5])

    context = Context(Aligner(aligner.regressor, aligner.decoder, detector=find), bench_material, tmp_path)
    made = {stage.name: stage for stage in chosen(stages(), "detect*")}
    assert len(made["detect"].make(context)()) == 1
    with pytest.raises(ValueError, match="a detector of another kind, function"):
        made["detect.network"].make(context)()
