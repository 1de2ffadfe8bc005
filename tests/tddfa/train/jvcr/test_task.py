from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa.jvcr.grid import with_centres  # noqa: E402
from tddfa.model.face_model import FaceModel  # noqa: E402
from tddfa.model.mirror import Mirror  # noqa: E402
from tddfa.train.data.augment import Augment  # noqa: E402
from tddfa.train.data.batches import in_order, make_batch  # noqa: E402
from tddfa.train.data.crops import Crops  # noqa: E402
from tddfa.train.data.samples import Sample, write_samples  # noqa: E402
from tddfa.train.engine.checkpoint import save_checkpoint  # noqa: E402
from tddfa.train.engine.settings import Folder  # noqa: E402
from tddfa.train.jvcr.data import PointMaker, points_of  # noqa: E402
from tddfa.train.jvcr.networks import Jvcr  # noqa: E402
from tddfa.train.jvcr.smoke import heldout_errors, smoke_settings  # noqa: E402
from tddfa.train.jvcr.task import EXPORTED, JvcrTask, load_best, train_jvcr  # noqa: E402
from tddfa.train.regressor.smoke import made_crops  # noqa: E402

FACE_MODEL = Path(__file__).resolve().parents[4] / "configs" / "open_face.npz"


@pytest.fixture(scope="module")
def model():
    return FaceModel.load(FACE_MODEL)


@pytest.fixture(scope="module")
def heads(tmp_path_factory, model):
    return made_crops(tmp_path_factory.mktemp("jvcr") / "crops", model, heads=4, validation_heads=1)


def test_points_are_those_of_the_face_model(heads, model):
    crops = Crops.open([heads])
    (batch,) = list(in_order(crops.split(validation=True), 100, model, 64))
    points = points_of(batch, model)
    assert points.shape == (8, 71, 3)
    assert np.allclose(points[:, :68, :2], batch.landmarks, atol=1e-3)
    assert np.abs(points[:, :68, 2].mean(axis=1)).max() < 1e-3
    # the nose is nearer than the ends of the jaw
    assert (points[:, 30, 2] > points[:, [0, 16], 2].mean(axis=1)).all()


def test_photos_have_no_depth(tmp_path, model):
    landmarks = np.random.default_rng(0).uniform(30, 120, (68, 2)).astype(np.float32)
    write_samples(tmp_path, [Sample(np.zeros((160, 160, 3), np.uint8), "photo", landmarks=landmarks)], model)
    (batch,) = list(in_order(Crops.open([tmp_path]), 1, model, 64))
    points = points_of(batch, model)
    assert np.isfinite(points[..., :2]).all()
    assert np.isnan(points[..., 2]).all()


def test_flips_keep_left_and_right(heads, model):
    """The points of a flipped crop are the mirror image of the others, and the pixels are too."""
    crops = Crops.open([heads])
    mirror, rows = Mirror.of(model), np.array([0, 3])
    plain, flipped = (
        make_batch(crops, rows, replace(Augment.none(), flip=flip), model, mirror, np.random.default_rng(0), 64)
        for flip in (0.0, 1.0)
    )
    assert np.abs(plain.crops[:, :, ::-1].astype(int) - flipped.crops).mean() < 2
    own, other = points_of(plain, model), points_of(flipped, model)
    assert np.abs(63 - own[:, 36, 0] - other[:, 45, 0]).max() < 1
    assert np.abs(own[:, 68, 1:] - other[:, 69, 1:]).max() < 1
    assert (other[:, 36, 0] < other[:, 45, 0]).all()  # the subject's right eye is at the left


def test_batches_of_points_are_reproducible_and_turned(heads, model):
    crops = Crops.open([heads]).split(validation=False)
    maker = PointMaker.of(crops, model, 6, 64, Augment(), balance=0.0, max_turn=40.0, seed=1)
    first, again = maker.batch(3).points, maker.batch(3).points
    assert np.array_equal(first, again)
    assert not np.array_equal(first, maker.batch(4).points)
    assert np.allclose(first, with_centres(first[:, :68]))
    still = PointMaker.of(crops, model, 6, 64, Augment.none(), balance=0.0, max_turn=0.0, seed=1).batch(3).points
    size = np.ptp(still[:, :68, :2], axis=1).max(axis=1)
    assert np.allclose(size, 64 / 1.25, rtol=1e-3)  # the crop rule


@pytest.mark.slow
def test_three_stages_learn_and_export(tmp_path, heads, model):
    settings = smoke_settings(heads, FACE_MODEL, steps=40)
    settings = replace(settings, schedule=replace(settings.schedule, batch_size=8, log_every=4))
    outcome = train_jvcr(settings, tmp_path, show=False)
    assert outcome.finished
    assert outcome.last_loss < outcome.first_loss
    assert [load_best(tmp_path, stage).settings for stage in ("volumes", "coordinates", "joint")] == 3 * [
        settings.network
    ]
    mean_face, predicted = heldout_errors(tmp_path / EXPORTED, heads, model, 64)
    assert np.isfinite([mean_face, predicted]).all()
    with pytest.raises(FileExistsError, match="a training is there already"):
        train_jvcr(settings, tmp_path, show=False)
    # a resumed training continues the last stage alone
    before = (tmp_path / "volumes" / "checkpoint.pt").stat().st_mtime_ns
    longer = replace(settings, schedule=replace(settings.schedule, steps=50))
    assert train_jvcr(longer, tmp_path, resume=True, show=False).steps == 15
    assert (tmp_path / "volumes" / "checkpoint.pt").stat().st_mtime_ns == before


def test_stages_of_other_networks_are_named(tmp_path, heads):
    settings = smoke_settings(heads, FACE_MODEL, steps=1)
    for stage in ("volumes", "coordinates"):
        network = Jvcr(settings.network)
        state = {"kind": "jvcr", "describe": network.describe(), "network": network.state_dict()}
        save_checkpoint(tmp_path / stage / "best.pt", state)
    wider = replace(settings, stage="joint", network=replace(settings.network, features=10))
    with pytest.raises(
        ValueError, match=r"volumes/best\.pt: expected a network .*features=10.*, got .*; train this stage"
    ):
        train_jvcr(wider, tmp_path, show=False)


def test_validation_crops_without_a_face_do_not_count(tmp_path, heads, model):
    settings = smoke_settings(heads, FACE_MODEL, steps=1)
    kept = Crops.open([(heads, 1.0)]).split(validation=True)
    rows = list(in_order(kept, 1, model, settings.network.size))
    empty = replace(rows[0], face=np.zeros(1, bool), has_landmarks=np.zeros(1, bool), has_params=np.zeros(1, bool))
    tasks = [
        JvcrTask(Jvcr(settings.network), "volumes", settings, model, batches, torch.device("cpu"))
        for batches in (rows, [empty, *rows])
    ]
    one, other = (task.validate(tasks[0].network.eval())["error"] for task in tasks)
    assert one == pytest.approx(other)
    none = np.zeros(len(kept), bool)
    kept.with_labels(replace(kept.labels, face=none, has_params=none)).write(tmp_path / "empty")
    settings = replace(settings, data=(Folder(tmp_path / "empty"),))
    with pytest.raises(ValueError, match="data: expected faces marked for validation, got none"):
        train_jvcr(settings, tmp_path / "out", show=False)


@pytest.mark.slow
def test_the_coordinate_stage_learns_the_points_of_made_volumes(tmp_path, heads):
    settings = replace(smoke_settings(heads, FACE_MODEL, steps=200), stage="coordinates", max_turn=10.0)
    settings = replace(settings, schedule=replace(settings.schedule, validate_every=80))
    outcome = train_jvcr(settings, tmp_path, show=False)
    assert outcome.steps == 80
    assert outcome.best["error"] < 5  # % of the crop; the mean face is off by 9
