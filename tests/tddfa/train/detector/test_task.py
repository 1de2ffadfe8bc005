"""The detector's training from end to end on rendered images: faces are detected, it resumes, errors are printed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from FaceBoxes import Detections  # noqa: E402
from FaceBoxes.anchors import Anchors  # noqa: E402
from tddfa._shared.terminal.parser import Parser  # noqa: E402
from tddfa.cli import main  # noqa: E402
from tddfa.cli.train._training import TRAININGS  # noqa: E402
from tddfa.train.detector.data import LabelledImage  # noqa: E402
from tddfa.train.detector.export import load_onnx  # noqa: E402
from tddfa.train.detector.faces import Faces  # noqa: E402
from tddfa.train.detector.networks import ANCHORS, Architecture, FaceBoxes  # noqa: E402
from tddfa.train.detector.settings import Folders, ImageFolder  # noqa: E402
from tddfa.train.detector.smoke import made_images, smoke, smoke_settings  # noqa: E402
from tddfa.train.detector.task import (  # noqa: E402
    DetectorTask,
    detector_of,
    export_best,
    first_network,
    load_best,
    measure,
    scenes_of,
    train_detector,
    validation_images,
)
from tddfa.train.engine.checkpoint import CheckpointError  # noqa: E402


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    made_images(folder / "train", 6, 2)
    made_images(folder / "validation", 3, 1, seed=1)
    return folder


def short(images, steps=2, **schedule):
    settings = smoke_settings(images)
    return dataclasses.replace(
        settings,
        schedule=dataclasses.replace(
            settings.schedule, steps=steps, batch_size=2, log_every=1, validate_every=100, **schedule
        ),
    )


COMMAND = next(training for training in TRAININGS if training.name == "detector")


def arguments(*words):
    parser = Parser()
    COMMAND.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


TINY = Architecture(stem=4, channels=(8, 8, 8, 8), blocks=(0, 0, 0, 0))


@pytest.mark.slow
def test_smoke_detects_held_out_heads(tmp_path):
    result = smoke(tmp_path)
    assert result.passed and result.outcome.finished
    assert any("AP of the exported detector" in line for line in result.lines)
    validation = validation_images(smoke_settings(tmp_path / "images"))
    trained = load_onnx(tmp_path / "faceboxes.onnx")
    untrained = FaceBoxes(trained.architecture).eval()
    before, after = (measure(detector_of(each, each.anchors), validation) for each in (untrained, trained))
    assert after["ap"] > before["ap"] + 0.4 and after["error"] < before["error"]


def test_a_training_resumes_where_it_stopped(images, tmp_path):
    whole = train_detector(short(images, 4), tmp_path / "whole", show=False)
    first = train_detector(short(images, 2), tmp_path / "parts", show=False)
    assert (whole.steps, first.steps) == (4, 2) and first.finished
    again = train_detector(short(images, 4), tmp_path / "parts", resume=True, show=False)
    assert again.steps == 4 and again.finished
    lines = (tmp_path / "parts/log.jsonl").read_text().splitlines()
    steps = [each["step"] for each in map(json.loads, lines) if each["part"] == "train"]
    assert steps == [1, 2, 3, 4]
    with pytest.raises(FileExistsError, match="a training is there already"):
        train_detector(short(images), tmp_path / "parts", show=False)


def test_training_continues_from_an_exported_network(images, tmp_path):
    first = dataclasses.replace(short(images), architecture=TINY)
    train_detector(first, tmp_path / "first", show=False)
    exported = tmp_path / "first/faceboxes.onnx"
    settings = dataclasses.replace(short(images, learning_rate=1e-9), init=exported)
    train_detector(settings, tmp_path / "second", show=False)
    network = load_best(tmp_path / "second")
    assert network.frozen_norms and network.architecture == TINY
    assert export_best(tmp_path / "second", settings) == tmp_path / "second/faceboxes.onnx"
    image = torch.zeros(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(image).logits, load_onnx(exported)(image).logits, atol=1e-3, rtol=1e-3)
    larger = first_network(dataclasses.replace(settings, added_blocks=(1,) * len(TINY.blocks)))
    assert larger.architecture.blocks == tuple(count + 1 for count in TINY.blocks)


def test_the_loss_is_that_of_the_batch(images):
    task = DetectorTask(FaceBoxes(TINY), [], box_weight=3.0)
    batch = scenes_of(short(images)).batch(0)
    task.network.eval()
    terms = task.terms(batch)
    assert set(terms) == {"score", "box", "points"}
    assert task.judge(batch) == pytest.approx(sum(value.item() for value in terms.values()), rel=1e-5)
    half = DetectorTask(task.network, [], box_weight=1.5).terms(batch)
    assert half["box"].item() == pytest.approx(terms["box"].item() / 2, rel=1e-5)


def test_a_teacher_adds_its_terms(images):
    torch.manual_seed(0)
    teacher, network = FaceBoxes(TINY), FaceBoxes(TINY).eval()
    batch = scenes_of(short(images)).batch(0)
    alone = DetectorTask(network, []).terms(batch)
    one, half = (DetectorTask(network, [], teacher=teacher, teacher_weight=w).terms(batch) for w in (1.0, 0.5))
    assert set(one) == set(alone) | {"teacher_score", "teacher_box", "teacher_points"}
    assert all(one[name].item() == pytest.approx(value.item()) for name, value in alone.items())
    assert one["teacher_score"].item() > 0
    assert half["teacher_score"].item() == pytest.approx(one["teacher_score"].item() / 2, rel=1e-5)
    assert not teacher.training and all(weight.grad is None for weight in teacher.parameters())
    other = FaceBoxes(Architecture(stem=4, channels=(8,), blocks=(0,)), Anchors(ANCHORS.maps[:1]))
    with pytest.raises(ValueError, match="teacher: expected a detector with the prior boxes of the network"):
        DetectorTask(network, [], teacher=other)


def test_a_network_is_narrowed_and_taught_by_the_one_before(images, tmp_path):
    wide = Architecture(stem=4, channels=(12, 16, 16, 16), blocks=(0, 0, 0, 0))
    train_detector(dataclasses.replace(short(images), architecture=wide), tmp_path / "wide", show=False)
    exported = tmp_path / "wide/faceboxes.onnx"
    settings = dataclasses.replace(short(images, 3), init=exported, narrow_to=TINY.channels, teacher=exported)
    train_detector(settings, tmp_path / "narrow", show=False)
    network = load_onnx(tmp_path / "narrow/faceboxes.onnx")
    assert network.architecture == TINY and not load_best(tmp_path / "narrow").frozen_norms
    more = dataclasses.replace(settings, schedule=short(images, 4).schedule)
    assert train_detector(more, tmp_path / "narrow", resume=True, show=False).steps == 4


def test_measure_counts_each_kind_of_image():
    face, elsewhere = [0, 0, 40, 40], [100, 100, 140, 140]
    points = np.full((5, 2), 20.0)
    labelled = [[face], [face], [face, elsewhere], [], []]
    detections = [
        ([face, elsewhere], [0.9, 0.8]),  # right, false
        ([face], [0.3]),
        ([face, elsewhere], [0.6, 0.9]),
        ([elsewhere], [0.6]),  # in an image without faces
        ([], []),
    ]
    images = [
        LabelledImage(np.full((4, 4, 3), i, np.uint8), Faces.of_boxes(boxes, np.tile(points, (len(boxes), 1, 1))))
        for i, boxes in enumerate(labelled)
    ]

    def detector(image):
        boxes, scores = detections[image[0, 0, 0]]
        return Detections(np.reshape(boxes, (-1, 4)), scores, np.tile(points + np.array([4, 0]), (len(boxes), 1, 1)))

    values = measure(detector, images)
    assert 0.6 < values["ap"] < 1 and values["false"] == 0.5
    assert values["points"] == pytest.approx(10)  # 4 px of a face of 40 px
    assert values["error"] == pytest.approx(1 - values["ap"] + 0.5)


def test_validation_images_are_photos_and_scenes(images):
    settings = dataclasses.replace(short(images), validation_scenes=3)
    every = validation_images(settings)
    assert len(every) == 4 + 3 and every[-1].image.shape == (128, 128, 3)
    assert (every[-1].image == validation_images(settings)[-1].image).all()


def test_unlabelled_images_need_predictions(images):
    data = Folders(unlabelled=(ImageFolder(images / "train"),))
    with pytest.raises(ValueError, match="expected predictions of a teacher"):
        scenes_of(dataclasses.replace(short(images), data=data))


class TestCommand:
    def test_options_replace_settings(self, root):
        options = arguments(
            *("--config", root / "configs/train/faceboxes.yml", "--out", "x", "--minutes", 3, "--batch", 5),
            *("--init", "t.onnx", "--workers", 0),
        )
        settings = COMMAND.settings_of(options)
        assert (settings.schedule.minutes, settings.schedule.steps, settings.schedule.batch_size) == (3, 10**9, 5)
        assert (str(settings.init), settings.workers) == ("t.onnx", 0)

    def test_an_error_names_its_file(self, tmp_path, root, capsys):
        config = root / "configs/train/faceboxes.yml"
        for words, status, message in (
            (["--out", tmp_path], 2, "--config: expected a file of settings, got none"),
            (["--out", tmp_path, "--config", tmp_path / "none.yml"], 1, "none.yml: not a readable yml file"),
            (["--config", config, "--out", tmp_path, "--export"], 1, "best.pt: no such checkpoint"),
        ):
            assert main(["train", "detector", *map(str, words)]) == status
            assert message in capsys.readouterr().err

    @pytest.mark.slow
    def test_it_trains_with_a_process_for_batches_and_exports(self, images, tmp_path, root, capsys):
        config = tmp_path / "tiny.yml"
        config.write_text(
            f"data: {{boxes: [{{folder: {images}/train}}]}}\n"
            f"validation: {{boxes: [{{folder: {images}/validation}}]}}\n"
            "workers: 1\nvalidation_scenes: 1\nlayout: {size: 64, max_cells: 2}\n"
            "architecture: {stem: 4, channels: [8, 8, 8, 8], blocks: [0, 0, 0, 0]}\n"
            "schedule: {steps: 2, batch_size: 2, log_every: 1}\n"
        )
        # a process of its own, as it is used: those that make batches import its main module
        script = "import sys\nfrom tddfa.cli import main\nsys.exit(main(['train', 'detector', *sys.argv[1:]]))"
        done = subprocess.run(
            [sys.executable, "-c", script, "--config", str(config), "--out", str(tmp_path / "out")],
            capture_output=True, text=True, timeout=300, check=False, cwd=root,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "2 steps, 4 scenes" in done.stdout and "faceboxes.onnx: written" in done.stdout
        assert COMMAND.run(arguments("--config", config, "--out", tmp_path / "out", "--export")) == 0
        assert "faceboxes.onnx: written" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    from tddfa.train.engine.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "best.pt", {"kind": "detector", "network": {}, "describe": {"frozen_norms": False}})
    with pytest.raises(CheckpointError, match=r"best\.pt: not a complete checkpoint"):
        load_best(tmp_path)
    save_checkpoint(tmp_path / "best.pt", {"kind": "regressor"})
    with pytest.raises(CheckpointError, match="expected a checkpoint of a detector"):
        load_best(tmp_path)
