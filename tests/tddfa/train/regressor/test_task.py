import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa.geometry.camera import Camera  # noqa: E402
from tddfa.model.config import Config  # noqa: E402
from tddfa.model.face_model import FaceModel  # noqa: E402
from tddfa.model.runtime import Model  # noqa: E402
from tddfa.train.data.augment import Augment  # noqa: E402
from tddfa.train.data.batches import Crops, in_order  # noqa: E402
from tddfa.train.data.samples import encode_jpeg  # noqa: E402
from tddfa.train.data.shards import Labels, write_shard  # noqa: E402
from tddfa.train.engine.loop import LOG  # noqa: E402
from tddfa.train.engine.settings import Folder, Schedule  # noqa: E402
from tddfa.train.regressor.networks import Prediction, Regressor  # noqa: E402
from tddfa.train.regressor.settings import LossWeights, MetaJoint, RegressorSettings  # noqa: E402
from tddfa.train.regressor.task import (  # noqa: E402
    EXPORTED,
    RegressorTask,
    Targets,
    export_again,
    first_network,
    load_best,
    reduced,
    train_regressor,
    whitening,
)

COUNT = 24


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Coloured noise, with labels of made-up heads; two have true landmarks alone, two no face."""
    rng = np.random.default_rng(0)
    yaw = np.linspace(-60, 60, COUNT)
    camera = np.array(
        [Camera.from_pose(float(angle), 3, 0, 4.5, (79.5, 79.5, 0)).matrix for angle in yaw], dtype=np.float32
    )
    shape = rng.normal(0, 1, (COUNT, model.shape_count)).astype(np.float32)
    expression = rng.random((COUNT, model.expression_count)).astype(np.float32) * 0.5
    landmarks = np.full((COUNT, 68, 2), np.nan, dtype=np.float32)
    has_params, face = np.ones(COUNT, dtype=bool), np.ones(COUNT, dtype=bool)
    for row in (3, 4):
        points = Camera(camera[row]).project(model.landmarks(shape[row], expression[row]))
        landmarks[row], has_params[row] = points[:, :2], False
    has_params[5:7] = face[5:7] = False
    validation = np.arange(COUNT) >= COUNT - 6
    labels = Labels.of(camera, shape, expression, "made", validation, landmarks, has_params, face)
    path = tmp_path_factory.mktemp("crops")
    images = [np.full((160, 160, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(COUNT)]
    write_shard(path, [encode_jpeg(image) for image in images], labels)
    return path


@pytest.fixture(scope="module")
def settings(folder, root):
    return RegressorSettings(
        (Folder(folder),), root / "configs/open_face.npz", width=0.1, workers=0, vertices=30, augment=Augment.none(),
        schedule=Schedule(steps=6, batch_size=8, learning_rate=1e-3, validate_every=3, log_every=2, ema_decay=0.5),
    )  # fmt: skip


@pytest.fixture(scope="module")
def batch(folder, model):
    return next(in_order(Crops.open([folder]), COUNT, model))


def made_task(model, batch, weights=None, **options):
    torch.manual_seed(0)
    network = Regressor(0.1, model.shape_count, model.expression_count)
    network.whiten_by(*whitening([batch]))
    weights = LossWeights() if weights is None else weights
    return RegressorTask(network, model, weights, MetaJoint(**options), [batch], 30, torch.device("cpu"))


def perfect_prediction(task, batch):
    """Prediction equal to the ground target."""
    target = Targets.of(batch, torch.device("cpu"))
    white = task.regressor.whitened(target.camera, target.shape, target.expression)
    logit = torch.where(target.face, 20.0, -20.0)
    return Prediction(target.camera, target.shape, target.expression, logit, white), target


EVERY = LossWeights(wpdc=1.0, vdc=1.0, blendshapes=30.0)


def posed(batch):
    rows = np.flatnonzero(batch.has_params & batch.face)
    return dataclasses.replace(batch, **{f.name: getattr(batch, f.name)[rows] for f in dataclasses.fields(batch)})


def test_the_loss_is_zero_at_the_ground_truth(model, batch):
    only = posed(batch)
    task = made_task(model, only)
    terms = task.terms(*perfect_prediction(task, only), EVERY)
    assert len(terms) == 11
    for name, value in terms.items():
        assert float(value) == pytest.approx(0, abs=2e-4), name


def test_the_z_offset_is_free_but_in_the_cameras_own_term(model, batch):
    only = posed(batch)
    task = made_task(model, only)
    predicted, target = perfect_prediction(task, only)
    camera = predicted.camera.clone()
    camera[:, 2, 3] += 30
    terms = task.terms(predicted._replace(camera=camera), target, EVERY)
    assert all(float(value) == pytest.approx(0, abs=2e-4) for value in terms.values())


def test_rows_count_where_they_have_a_label(model, batch):
    task = made_task(model, batch)
    predicted, target = perfect_prediction(task, batch)

    def terms_with(row):
        camera = predicted.camera.clone()
        camera[row, 0, 3] += 4
        moved = task.terms(predicted._replace(camera=camera), target, LossWeights())
        still = task.terms(predicted, target, LossWeights())
        return {name for name, value in moved.items() if abs(float(value) - float(still[name])) > 1e-3}

    assert {"surface", "landmarks"} <= terms_with(0)
    assert terms_with(3) == {"landmarks"}, "true landmarks, no parameters"
    assert terms_with(5) == set(), "no face"


def test_the_jaw_of_annotated_landmarks_does_not_count(model, batch):
    task = made_task(model, batch)
    predicted, target = perfect_prediction(task, batch)
    landmarks = target.landmarks.clone()
    landmarks[3, :17] += 10
    moved, still = (
        task.terms(predicted, dataclasses.replace(target, landmarks=each), LossWeights())["landmarks"]
        for each in (landmarks, target.landmarks)
    )
    assert torch.equal(moved, still)
    landmarks[3, 30] += 10
    again = task.terms(predicted, dataclasses.replace(target, landmarks=landmarks), LossWeights())["landmarks"]
    assert float(again) > float(still)


def test_terms_of_weight_zero_are_left_out(model, batch):
    task = made_task(model, batch)
    terms = task.terms(*perfect_prediction(task, batch), LossWeights(surface=0, score=0))
    assert set(terms) == {"landmarks", "eyelids", "lips", "camera", "shape", "expression"}


def test_validation_measures(model, batch):
    task = made_task(model, batch)
    predicted, target = perfect_prediction(task, batch)
    perfect = torch.nn.Module()
    perfect.forward = lambda crops: predicted
    # rows of true landmarks alone have no parameters to say them by
    rows = np.flatnonzero(batch.has_params)
    task.validation = [dataclasses.replace(batch, has_landmarks=batch.has_params)]
    values = task.validate(perfect)
    assert values["error"] == pytest.approx(0, abs=1e-3) and values["score"] == 1 and values["lid_gap"] < 1e-3
    camera = target.camera.clone()
    camera[:, 0, 3] += 2
    moved = predicted._replace(camera=camera)
    perfect.forward = lambda crops: moved
    values = task.validate(perfect)
    lengths = []
    for row in rows:
        points = Camera(batch.camera[row]).project(model.landmarks(batch.shape[row], batch.expression[row]))
        lengths.append(np.linalg.norm(points[36] - points[45]))
    wanted = np.mean(100 * 2 / np.array(lengths))
    assert values["landmarks"] == pytest.approx(wanted, rel=1e-3) and values["inner"] == pytest.approx(wanted, rel=1e-3)
    assert values["lid_gap"] == pytest.approx(0, abs=1e-3), "the gap is where the head is not"


def test_the_judge_is_the_vertex_distance(model, batch):
    task = made_task(model, batch, steps=1)
    assert set(task.objectives) == {"wpdc", "vdc"}
    with torch.no_grad():
        predicted = task.network.eval()(torch.from_numpy(batch.crops))
    rows = np.flatnonzero(batch.has_params & batch.face)
    errors = []
    for row in rows:
        camera = predicted.camera[row].numpy().copy()
        camera[2, 3] = batch.camera[row, 2, 3]
        points = task.surface.in_model(predicted.shape[row : row + 1], predicted.expression[row : row + 1])[0].numpy()
        true = task.surface.in_model(*(torch.from_numpy(v[row : row + 1]) for v in (batch.shape, batch.expression)))[0]
        difference = Camera(camera).project(points) - Camera(batch.camera[row]).project(true.numpy())
        errors.append((difference**2).sum(axis=1).mean())
    assert task.judge(batch) == pytest.approx(np.mean(errors), rel=1e-3)


def test_whitening_takes_rows_with_parameters(batch):
    mean, std = whitening([batch, batch])
    rows = batch.has_params
    assert np.allclose(mean[:12], batch.camera[rows].reshape(-1, 12).mean(axis=0), atol=1e-4)
    assert std[52:].min() >= 0.03
    with pytest.raises(ValueError, match="expected crops with parameters"):
        whitening([dataclasses.replace(batch, has_params=np.zeros(COUNT, dtype=bool))])


@pytest.mark.parametrize("look_ahead", [0, 2], ids=["joint", "meta-joint"])
def test_a_training_writes_its_files(settings, tmp_path, look_ahead):
    settings = dataclasses.replace(settings, meta_joint=MetaJoint(steps=look_ahead))
    outcome = train_regressor(settings, tmp_path, show=False)
    assert outcome.finished and outcome.steps == 6
    assert {"error", "landmarks", "inner", "lid_gap", "score"} == set(outcome.best)
    crops = np.full((3, 120, 120, 3), 90, np.uint8)
    with torch.no_grad():
        predicted = load_best(tmp_path)(torch.from_numpy(crops))
    ran = Model(tmp_path / EXPORTED, device="cpu", threads=1)(crops)
    assert np.allclose(ran["camera"], predicted.camera.numpy(), atol=1e-3)
    parts = {json.loads(line)["part"] for line in (tmp_path / LOG).read_text().splitlines()}
    assert parts == {"train", "validation"}
    (tmp_path / EXPORTED).unlink()
    assert export_again(tmp_path, settings) == tmp_path / EXPORTED
    assert (tmp_path / EXPORTED).is_file()


def test_a_training_starts_from_released_weights(settings, root, batch):
    assert first_network(dataclasses.replace(settings, width=None)).backbone.width == 0.5
    network = first_network(dataclasses.replace(settings, init=root / "weights/open_mb05.onnx", width=None))
    assert network.backbone.width == 0.5
    with torch.no_grad():
        predicted = network(torch.from_numpy(batch.crops[:4]))
    wanted = Model(root / "weights/open_mb05.onnx", device="cpu", threads=1)(batch.crops[:4])
    assert np.allclose(predicted.camera.numpy(), wanted["camera"], rtol=1e-4, atol=1e-3)
    wide = first_network(dataclasses.replace(settings, init=root / "weights/open_mb05.onnx", width=0.75))
    assert wide.backbone.width == 0.75
    with torch.no_grad():
        predicted = wide(torch.from_numpy(batch.crops[:4]))
    assert np.allclose(predicted.camera.numpy(), wanted["camera"], rtol=1e-3, atol=1e-2)


def test_a_training_needs_validation_crops(settings, tmp_path, folder):
    crops = Crops.open([folder]).split(validation=False)
    write_shard(tmp_path / "crops", [encode_jpeg(crops.image(row)) for row in range(len(crops))], crops.labels)
    with pytest.raises(ValueError, match="expected faces marked for validation"):
        train_regressor(dataclasses.replace(settings, data=(Folder(tmp_path / "crops"),)), tmp_path / "out")


def test_a_missing_device_is_named(settings, tmp_path):
    with pytest.raises(ValueError, match="device: expected one that torch has here, got 'abacus'"):
        train_regressor(settings, tmp_path, device="abacus")


def test_the_face_model_is_the_released_configs(settings, root):
    assert Config.load(root / "configs/open_mb05.yml").face_model == settings.face_model


def test_training_crops_are_reduced(model, batch):
    crops = torch.from_numpy(batch.crops)
    assert reduced(crops, 120) is crops
    half = reduced(crops, 60)
    expected = crops.double().reshape(len(crops), 60, 2, 60, 2, 3).mean(dim=(2, 4))
    assert half.shape == (len(crops), 60, 60, 3) and torch.allclose(half.double(), expected, atol=1e-4)
    network = Regressor(0.1, model.shape_count, model.expression_count)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape[2:]))
    network.whiten_by(*whitening([batch]))
    task = RegressorTask(network, model, LossWeights(), MetaJoint(), [batch], 30, torch.device("cpu"), 80)
    next(iter(task.objectives.values()))(batch)
    task.validate(network)
    assert seen == [(80, 80), (120, 120)]
