import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa._shared.settings import load_settings  # noqa: E402
from tddfa._shared.terminal.parser import Parser  # noqa: E402
from tddfa.cli.train._training import TRAININGS  # noqa: E402
from tddfa.landmarks68 import MIRRORED  # noqa: E402
from tddfa.scan.head import mean_landmarks  # noqa: E402
from tddfa.synthetic.scans import TRAINING_SCANS  # noqa: E402
from tddfa.train.engine.loop import BEST, CHECKPOINT  # noqa: E402
from tddfa.train.scan.data import ScanBatches  # noqa: E402
from tddfa.train.scan.network import ScanNetwork  # noqa: E402
from tddfa.train.scan.settings import ScanTrainingSettings  # noqa: E402
from tddfa.train.scan.shards import read_scans, write_scans  # noqa: E402
from tddfa.train.scan.smoke import smoke_settings  # noqa: E402
from tddfa.train.scan.task import graph_batch, train_scan  # noqa: E402

COMMAND = next(training for training in TRAININGS if training.name == "scan")


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    out, printed = tmp_path_factory.mktemp("smoke"), io.StringIO()
    parser = Parser()
    COMMAND.add_arguments(parser)
    with contextlib.redirect_stdout(printed):
        status = COMMAND.run(parser.parse_args(["--out", str(out), "--smoke"]))
    return out, status, printed.getvalue()


@pytest.fixture(scope="module")
def settings(smoked, root):
    return smoke_settings(smoked[0] / "synthetic", root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def made(settings):
    return read_scans(settings.data)


@pytest.mark.slow
def test_smoke(smoked):
    out, status, printed = smoked
    assert status == 0, printed
    assert "landmarks of held-out scans" in printed
    assert (out / "scan.onnx").stat().st_size > 10_000


def test_a_training_stops_and_resumes(settings, tmp_path):
    short = replace(settings, schedule=replace(settings.schedule, steps=3, validate_every=100))
    assert train_scan(short, tmp_path, show=False).finished
    assert (tmp_path / CHECKPOINT).exists()
    longer = replace(short, schedule=replace(short.schedule, steps=5))
    outcome = train_scan(longer, tmp_path, resume=True, show=False)
    assert outcome.steps == 5
    assert (tmp_path / BEST).exists()


def batches(made, settings, aligner, **changes):
    return ScanBatches(made, replace(settings, **changes), mean_landmarks(aligner.face_model))


def test_a_batch_is_the_same_again(made, settings, aligner):
    first, again = (batches(made, settings, aligner).batch(3) for _ in range(2))
    assert (first.heat == again.heat).all()
    assert (first.graphs[1].features == again.graphs[1].features).all()


def test_heat_is_hottest_at_the_point_nearest_to_the_landmark(made, settings, aligner):
    batch = batches(made, settings, aligner, points=500).batch(0)
    for graph, heat, landmarks in zip(batch.graphs, batch.heat, batch.landmarks, strict=True):
        away = np.linalg.norm(graph.features[:, None, :3] - landmarks, axis=2)
        assert (away.argmin(axis=0) == heat.argmax(axis=0)).mean() > 0.99
        hot = heat > 0.3
        assert (away[hot] < away[~hot].max()).all()


def test_mirrored_scans_keep_left_and_right(made, settings, aligner):
    """Half of the scans are flipped: their right eye must still be on the right."""
    source = batches(made, settings, aligner, rotation=0.0, shift=0.0, scale=0.0)
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(12):
        (landmarks,) = source.of([(0, 0)], rng).landmarks * 100
        assert landmarks[36, 0] < landmarks[45, 0]
        own = made.landmarks[0]
        straight, turned = (
            np.linalg.norm(landmarks - each, axis=1).mean() for each in (own, own[MIRRORED] * [-1, 1, 1])
        )
        flipped += turned < straight
    assert 0 < flipped < 12


def test_a_folder_without_scans_is_named(settings, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file scans-NNNNN"):
        train_scan(ScanTrainingSettings((tmp_path,), settings.face_model), tmp_path / "out")


def test_a_damaged_file_is_named(smoked, settings, tmp_path):
    (tmp_path / "scans-00000.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"scans-00000\.npz"):
        read_scans([tmp_path])


def test_files_store_as_many_points_as_asked_for_and_all_the_same(tmp_path, aligner):
    model = aligner.face_model
    list(write_scans(tmp_path / "dense", model, TRAINING_SCANS, 0, 1, points=9000))
    dense = read_scans([tmp_path / "dense"])
    assert dense.face.shape == (1, 9000, 3)
    list(write_scans(tmp_path / "thin", model, TRAINING_SCANS, 0, 1, points=1000))
    np.testing.assert_array_equal(read_scans([tmp_path / "thin"]).landmarks, dense.landmarks)
    with pytest.raises(ValueError, match=r"thin.scans-00000\.npz: expected 9000 points of each scan, .* got 1000"):
        read_scans([tmp_path / "dense", tmp_path / "thin"])


@pytest.mark.slow
def test_the_published_preset_takes_a_batch(root, made, aligner):
    settings = load_settings(ScanTrainingSettings, root / "configs/train/scan_published.yml")
    assert (settings.points, settings.width, settings.layers, settings.schedule.batch_size) == (32768, 64, 4, 2)
    batch = batches(made, settings, aligner, points=2000).batch(0)
    assert batch.heat.shape == (2, 2000, 68)
    network = ScanNetwork(width=settings.width, layers=settings.layers, edge_width=settings.edge_width)
    assert network(graph_batch(batch, torch.device("cpu"))).shape[-1] == 68
