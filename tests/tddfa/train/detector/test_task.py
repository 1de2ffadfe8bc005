"""The detector's training from end to end on rendered images: faces are detected, it resumes, errors are printed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from FaceBoxes import Detections  # noqa: E402
from tddfa.cli.train._training import TRAININGS  # noqa: E402
from tddfa.train.detector.data import LabelledImage, source  # noqa: E402
from tddfa.train.detector.networks import FaceBoxes, blended, load_onnx, map_of_priors  # noqa: E402
from tddfa.train.detector.settings import Folders, ImageFolder  # noqa: E402
from tddfa.train.detector.smoke import made_images, smoke, smoke_settings  # noqa: E402
from tddfa.train.detector.task import (  # noqa: E402
    DetectorTask,
    detector_of,
    export_best,
    load_best,
    measure,
    scenes_of,
    train_detector,
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
    parser = argparse.ArgumentParser(allow_abbrev=False)
    COMMAND.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_smoke_detects_held_out_heads(tmp_path):
    untrained = FaceBoxes().eval()
    result = smoke(tmp_path)
    assert result.passed and result.outcome.finished
    assert any("AP of the exported detector" in line for line in result.lines)
    validation = [source(tmp_path / "images/validation", "boxes", 0, 1, None)]
    before = measure(detector_of(untrained), validation)
    after = measure(detector_of(load_onnx(tmp_path / "faceboxes.onnx").eval()), validation)
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


def test_a_released_network_is_fine_tuned_with_frozen_norms(images, tmp_path, root):
    settings = dataclasses.replace(short(images, learning_rate=1e-6), init=root / "weights/faceboxes.onnx")
    train_detector(settings, tmp_path, show=False)
    network = load_best(tmp_path)
    assert network.frozen_norms and (network.conv1.bn.running_mean == 0).all()
    assert export_best(tmp_path, settings) == tmp_path / "faceboxes.onnx"
    # two steps of a small training leave it a detector
    values = measure(detector_of(network), [source(images / "validation", "boxes", 0, 1, None)])
    assert values["ap"] > 0.9


def test_the_loss_is_that_of_the_batch(images):
    task = DetectorTask(FaceBoxes(), [], box_weight=3.0)
    batch = scenes_of(short(images)).batch(0)
    task.network.eval()
    terms = task.terms(batch)
    assert set(terms) == {"score", "box"}
    assert task.judge(batch) == pytest.approx(sum(value.item() for value in terms.values()), rel=1e-5)
    half = DetectorTask(task.network, [], box_weight=1.5).terms(batch)
    assert half["box"].item() == pytest.approx(terms["box"].item() / 2, rel=1e-5)


def test_only_the_layers_for_large_faces_are_trained(images, tmp_path, root):
    settings = dataclasses.replace(
        short(images, learning_rate=1e-3),
        init=root / "weights/faceboxes.onnx",
        feature_maps=(1, 2),
        init_fraction=0.5,
        logit_shifts=(-1.0, 0.0, 0.5),
    )
    train_detector(settings, tmp_path, show=False)
    first, trained, exported = (
        network.eval()
        for network in (load_onnx(settings.init), load_best(tmp_path), load_onnx(tmp_path / "faceboxes.onnx"))
    )
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 192, 256), dtype=np.uint8))
    small = torch.from_numpy(map_of_priors(192, 256)) == 0
    with torch.no_grad():
        before, after, written = (network(image)[0][0] for network in (first, trained, exported))
    assert torch.equal(before[small], after[small]) and not torch.equal(before[~small], after[~small])
    torch.testing.assert_close(written[small], before[small] - 1, atol=1e-3, rtol=1e-4)
    half = blended(first, trained, 0.5)
    with torch.no_grad():
        wanted = half(image)[0][0]
    last = torch.from_numpy(map_of_priors(192, 256)) == 2
    torch.testing.assert_close(written[last], wanted[last] + 0.5, atol=1e-3, rtol=1e-4)


class Known:
    """Images whose faces lie at given boxes; the detector of the tests finds what their first pixel says."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        faces, complete = self.labels[index]
        image = np.full((4, 4, 3), index, dtype=np.uint8)
        boxes = tuple(np.array(face, dtype=float).reshape(2, 2) for face in faces)
        return LabelledImage(image, boxes, True, np.zeros(len(boxes), dtype=bool), complete)


def test_measure_counts_each_kind_of_image():
    face, elsewhere = [0, 0, 40, 40], [100, 100, 140, 140]
    detections = [
        ([face, elsewhere], [0.9, 0.8]),  # right, false
        ([face], [0.3]),  # seen, but not at 0.5
        ([face, elsewhere], [0.6, 0.9]),
        ([elsewhere], [0.6]),  # in a image without faces
        ([], []),
    ]
    images = Known([([face], True), ([face], False), ([face, elsewhere], False), ([], True), ([], True)])

    def detector(image):
        boxes, scores = detections[image[0, 0, 0]]
        return Detections(np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(scores, dtype=np.float32))

    values = measure(detector, [images])
    assert values == {
        "ap": pytest.approx(1),
        "recall": pytest.approx(2 / 3),
        "false": pytest.approx(0.5),
        "error": pytest.approx(1 / 3 + 0.5),
    }


def test_unlabelled_images_need_a_teacher(images):
    data = Folders(unlabelled=(ImageFolder(images / "train"),))
    with pytest.raises(ValueError, match="need a teacher"):
        scenes_of(dataclasses.replace(short(images), data=data))


class TestCommand:
    def test_options_replace_settings(self, root):
        options = arguments(
            *("--config", root / "configs/train/faceboxes.yml", "--out", "x", "--minutes", 3, "--batch", 5),
            *("--teacher", "t.onnx", "--workers", 0),
        )
        settings = COMMAND.settings_of(options)
        assert (settings.schedule.minutes, settings.schedule.steps, settings.schedule.batch_size) == (3, 10**9, 5)
        assert (str(settings.teacher), settings.workers) == ("t.onnx", 0)

    def test_an_error_is_one_line(self, tmp_path, root, capsys):
        config = root / "configs/train/faceboxes.yml"
        for words, message in (
            (["--out", tmp_path], "--config: expected a file of settings, got none"),
            (["--out", tmp_path, "--config", tmp_path / "none.yml"], "none.yml: not a readable yml file"),
            (["--config", config, "--out", tmp_path, "--export"], "best.pt: no checkpoint there"),
        ):
            assert COMMAND.run(arguments(*words)) == 1
            printed = capsys.readouterr().err
            assert message in printed and printed.count("\n") == 1

    def test_it_trains_with_a_process_for_batches_and_exports(self, images, tmp_path, root, capsys):
        config = tmp_path / "tiny.yml"
        config.write_text(
            f"data: {{boxes: [{{folder: {images}/train}}]}}\n"
            f"validation: {{boxes: [{{folder: {images}/validation}}]}}\n"
            "workers: 1\nlayout: {size: 64, max_cells: 2}\nschedule: {steps: 2, batch_size: 2, log_every: 1}\n"
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
