import io
import json
from contextlib import redirect_stdout
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa._shared.settings import load_settings  # noqa: E402
from tddfa._shared.terminal.parser import Parser  # noqa: E402
from tddfa.cli import main  # noqa: E402
from tddfa.cli.train._training import TRAININGS  # noqa: E402
from tddfa.geometry.camera import rotation_from_euler  # noqa: E402
from tddfa.geometry.triangulation import pinhole, project, triangulate  # noqa: E402
from tddfa.train.data.augment import Augment  # noqa: E402
from tddfa.train.data.batches import in_order  # noqa: E402
from tddfa.train.data.crops import Crops  # noqa: E402
from tddfa.train.engine.settings import Folder  # noqa: E402
from tddfa.train.multiview.data import rendered_heads, validation_views, view_batch  # noqa: E402
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings  # noqa: E402
from tddfa.train.multiview.task import (  # noqa: E402
    MultiviewTask,
    Step,
    finetune,
    view_errors,
)
from tddfa.train.regressor.networks import Regressor  # noqa: E402
from tddfa.train.regressor.settings import LossWeights, MetaJoint  # noqa: E402
from tddfa.train.regressor.task import RegressorTask, Targets  # noqa: E402

COMMAND = next(training for training in TRAININGS if training.name == "multiview")


def parsed(*arguments):
    parser = Parser()
    COMMAND.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def heads(model):
    return rendered_heads(model, 1, 6, seed=3)


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    """A whole run on rendered heads: its folder, its exit status, and its output."""
    out, printed = tmp_path_factory.mktemp("smoke"), io.StringIO()
    with redirect_stdout(printed):
        status = COMMAND.run(parsed("--out", out, "--smoke"))
    return out, status, printed.getvalue()


@pytest.fixture(scope="module")
def data(smoked):
    return smoked[0] / "crops"


@pytest.fixture(scope="module")
def labelled(model, data):
    crops = Crops.open([data])
    return next(in_order(crops.take(np.arange(0, len(crops), 10)), 8, model))


@pytest.fixture
def task_of(model, heads, labelled):
    """Makes a task of a small network that says something, in evaluation mode."""

    def make(weights=None, views=None):
        torch.manual_seed(0)
        network = Regressor(0.1, model.shape_count, model.expression_count).eval()
        mean = np.zeros(network.coefficient_count, np.float32)
        mean[:12] = np.array([[9, 0, 0, 60], [0, -9, 0, 60], [0, 0, 9, 0]]).ravel()
        network.whiten_by(mean, np.full(len(mean), 0.5, np.float32))
        torch.nn.init.normal_(network.head.weight, std=0.3)
        regressor = RegressorTask(
            network, model, weights or LossWeights(), MetaJoint(), [labelled], 50, torch.device("cpu")
        )
        return MultiviewTask(regressor, [validation_views(heads[0], 6)], views or ViewSettings())

    return make


@pytest.fixture
def step(heads, labelled):
    return Step(labelled, view_batch(heads[0], range(6), Augment(), np.random.default_rng(0)))


def predicted_in_views(task, model, views):
    """Predicted landmarks in fractions of the views, by NumPy."""
    with torch.no_grad():
        printed = task.network(torch.from_numpy(views.crops))
    camera, shape, expression = (value.numpy().astype(np.float64) for value in printed[:3])
    points = np.einsum("vij,vnj->vni", camera[:, :, :3], model.landmarks(shape, expression)) + camera[:, None, :, 3]
    return np.einsum("vij,vnj->vni", views.to_view[:, :, :2], points[..., :2]) + views.to_view[:, None, :, 2]


def test_the_loss_is_the_regressors_own_and_the_three_terms_in_px(task_of, step, model):
    task = task_of(LossWeights(), ViewSettings(weight=0.2, jaw_weight=0.5))
    terms = {name: term.item() for name, term in task.terms(step).items()}
    targets = Targets.of(step.labelled, torch.device("cpu"))
    own = task.regressor.terms(task.network(targets.crops), targets, LossWeights())
    assert {"surface", "landmarks"} <= set(own)
    for name, term in own.items():
        assert terms.pop(name) == pytest.approx(term.item(), rel=1e-4), name
    views = step.views
    predicted = predicted_in_views(task, model, views)
    seen = project(views.cameras, triangulate(views.cameras[:4], predicted[:4]))
    jaw = np.where(np.arange(68) < 17, 0.5, 1)[:, None]
    expected = {
        "view_projection": np.abs(predicted - seen)[4:].mean(),
        "view_source": np.abs(views.landmarks - seen)[:4].mean(),
        "view_landmarks": (np.abs(predicted - views.landmarks) * jaw).mean(),
    }
    # a share of the view is 160 px of the stored crop, and those are 1.05 of the network's
    assert terms == pytest.approx({name: 0.2 * 168 * value for name, value in expected.items()}, rel=1e-3)


def test_without_weight_views_add_no_term(task_of, step):
    assert not [name for name in task_of(views=ViewSettings(weight=0)).terms(step) if name.startswith("view_")]


def test_views_alone_move_the_network(task_of, step):
    task = task_of(LossWeights(**dict.fromkeys((item.name for item in fields(LossWeights)), 0.0)))
    terms = task.terms(step)
    assert set(terms) == {"view_projection", "view_source", "view_landmarks"}
    sum(terms.values()).backward()
    assert task.network.head.weight.grad.abs().sum() > 0
    # of a face's score, views say nothing
    assert not task.network.head.weight.grad[-1].any()


def test_errors_of_exact_and_of_noisy_predictions(heads, rng):
    views = validation_views(heads[0], 6)
    right = view_errors(views.landmarks, views)
    assert right == pytest.approx({"views": 0, "reprojection": 0, "spread": 0}, abs=1e-4)
    sizes = np.sqrt(np.prod(np.ptp(views.landmarks, axis=1), axis=1))
    off = rng.normal(0, 0.01, views.landmarks.shape)
    little, much = (view_errors(views.landmarks + factor * off, views) for factor in (1, 2))
    assert little["views"] == pytest.approx((100 * np.linalg.norm(off, axis=2) / sizes[:, None]).mean())
    for name in little:
        assert much[name] == pytest.approx(2 * little[name], rel=0.01), name
    elsewhere = project(views.cameras, triangulate(views.cameras, views.landmarks) + np.array([0.5, 0, 0]))
    moved = view_errors(elsewhere, views)
    assert moved["views"] > 1
    assert moved["reprojection"] == pytest.approx(0, abs=1e-4), "views agree on what is wrong"


def test_a_network_that_diverged_has_no_errors(heads):
    views = validation_views(heads[0], 6)
    assert np.isnan(list(view_errors(views.landmarks * np.nan, views).values())).all()


def test_validation_measures_crops_and_views(task_of, model):
    task = task_of()
    values = task.validate(task.network)
    assert values["crops"] == pytest.approx(task.regressor.validate(task.network)["error"])
    assert values["error"] == pytest.approx(values["crops"] + values["reprojection"])
    (views,) = task.validation
    expected = view_errors(predicted_in_views(task, model, views), views)
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-3), name


def test_validation_heads_need_views(task_of, heads):
    task = task_of()
    for validation in ([], [validation_views(heads[0], 4)]):
        with pytest.raises(ValueError, match="validation: expected heads of more than 4 views, got"):
            MultiviewTask(task.regressor, validation, ViewSettings())


def test_options_replace_settings(root, tmp_path):
    config = root / "configs/train/multiview.yml"
    options = parsed(
        "--config", config, "--out", tmp_path, "--batch", 64, "--count", 16, "--weight", 0.05, "--minutes", 3,
        "--data", "one:2", "--views", "eg3d", "--init", "mine.onnx", "--workers", 0,
    )  # fmt: skip
    settings = COMMAND.settings_of(options)
    schedule, regressor = settings.regressor.schedule, settings.regressor
    assert (schedule.batch_size, schedule.minutes, schedule.steps) == (64, 3.0, 10**9)
    assert (regressor.init, regressor.data, regressor.workers) == (Path("mine.onnx"), (Folder(Path("one"), 2.0),), 0)
    assert settings.views == ViewSettings(folder=Path("eg3d"), views_per_step=16, weight=0.05)
    plain = COMMAND.settings_of(parsed("--config", config, "--out", tmp_path))
    assert plain == load_settings(MultiviewSettings, config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "missing.yml"), "missing.yml: not a readable yml file"),
        (("--config", "{config}", "--weight", "-1"), "weight: expected a number from 0 on, got -1"),
        (("--config", "{config}", "--data", "missing"), "missing"),
    ],
)
def test_an_error_is_one_line(root, tmp_path, capsys, arguments, message):
    config = root / "configs/train/multiview.yml"
    given = [argument.format(config=config) for argument in arguments]
    assert main(["train", "multiview", "--out", str(tmp_path / "out"), *given]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("tddfa: error: ")
    assert printed.count("\n") == 1


def write_stored_heads(folder, names, rng):
    """Heads of 68 points in EG3D's layout, each with a shade of its own in eight views."""
    intrinsics = np.array([[2.5, 0, 0.5], [0, 2.5, 0.5], [0, 0, 1]])
    labels, cameras = [], []
    for k in range(8):
        turn = rotation_from_euler(*rng.uniform((-40, -15, -5), (40, 15, 5)))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn @ np.diag([1, -1, -1]), turn @ [0, 0, 2.7]
        labels.append([f"{k}.png", [*pose.ravel().tolist(), *intrinsics.ravel().tolist()]])
        cameras.append(pinhole(pose, intrinsics, (96, 96)))
    for shade, name in enumerate(names):
        (folder / "multiview" / name).mkdir(parents=True)
        for k in range(8):
            image = np.full((96, 96, 3), 20 * shade, np.uint8)
            cv2.imwrite(str(folder / "multiview" / name / f"{k}.png"), image)
        points = project(np.array(cameras), rng.normal(0, 0.1, (68, 3)))
        np.savez(folder / "multiview" / f"{name}.npz", landmarks=points)
    (folder / "multiview/dataset.json").write_text(json.dumps({"labels": labels}))


def test_the_last_stored_heads_are_for_validation(data, root, tmp_path, rng, monkeypatch):
    write_stored_heads(tmp_path, ["anna", "bert", "cora"], rng)
    seen = {"terms": set(), "validate": set()}
    terms, validate = MultiviewTask.terms, MultiviewTask.validate

    def shades(views):
        return {round(float(np.median(crop)) / 20) for crop in views.crops}

    def spied_terms(self, step):
        seen["terms"] |= shades(step.views)
        return terms(self, step)

    def spied_validate(self, network):
        seen["validate"] |= set().union(*map(shades, self.validation))
        return validate(self, network)

    monkeypatch.setattr(MultiviewTask, "terms", spied_terms)
    monkeypatch.setattr(MultiviewTask, "validate", spied_validate)
    settings = load_settings(MultiviewSettings, root / "configs/train/multiview.yml")
    schedule = replace(settings.regressor.schedule, steps=4, batch_size=2)
    own = replace(settings.regressor, data=(Folder(data),), schedule=schedule, vertices=20, augment=Augment.none())
    views = ViewSettings(folder=tmp_path, validation_heads=1, views_per_head=8, views_per_step=6)
    own = replace(own, workers=0, threads=1)
    outcome = finetune(MultiviewSettings(own, views), tmp_path / "out", show=False)
    assert outcome.finished
    assert seen == {"terms": {0, 1}, "validate": {2}}
    assert outcome.start["views"] > 5, "there are no faces in plain images"
    assert outcome.best.keys() == outcome.start.keys()


def test_stored_views_need_heads_to_train_on(data, root, tmp_path):
    (tmp_path / "multiview" / "anna").mkdir(parents=True)
    settings = load_settings(MultiviewSettings, root / "configs/train/multiview.yml")
    own = replace(settings.regressor, data=(Folder(data),))
    with pytest.raises(ValueError, match="expected more than 8 heads, got 1"):
        finetune(MultiviewSettings(own, replace(settings.views, folder=tmp_path)), tmp_path / "out")


def test_smoke(smoked):
    """The loss falls, the exported network runs, and its predictions for views of a held-out head agree better."""
    out, status, printed = smoked
    assert status == 0, printed
    assert "before: " in printed
    assert "spread of a held-out head" in printed
    assert (out / "regressor.onnx").is_file()
