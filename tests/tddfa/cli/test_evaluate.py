import json
import sys

import numpy as np
import pytest

from tddfa.cli import main
from tddfa.evaluate import benchmarks
from tddfa.evaluate.benchmarks import ibug, jitter, negatives
from tddfa.evaluate.result import Result


@pytest.fixture
def run(tmp_path, capfd):
    """Runs ``tddfa evaluate`` with its files in ``out``; returns status, lines of stdout and lines of stderr."""

    def start(*arguments, out="out"):
        capfd.readouterr()
        status = main(["evaluate", *map(str, arguments), "--device", "cpu", "--out", str(tmp_path / out)])
        captured = capfd.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return start


@pytest.fixture
def data(tmp_path, astronaut, aligner):
    """An image with landmarks, and an image without a face."""
    import cv2

    (face,) = aligner(astronaut)
    folder = tmp_path / "data"
    (folder / "own").mkdir(parents=True)
    (folder / "negatives").mkdir()
    cv2.imwrite(str(folder / "own/astronaut.png"), astronaut)
    cv2.imwrite(str(folder / "negatives/grey.png"), np.full((90, 90, 3), 128, np.uint8))
    lines = "\n".join(f"{x} {y}" for x, y in face.landmarks[:, :2].astype(float) + 1)
    (folder / "own/astronaut.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return folder


@pytest.fixture
def few(monkeypatch):
    """Reduces ``--all`` to benchmarks that need data."""
    names = ("aflw2000-3d", "aflw", "300w", "biwi", "negatives")
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {name: benchmarks.BENCHMARKS[name] for name in names})


def test_one_benchmark(run, data, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run("300w", "--data", data)
    assert (status, err) == (0, [])
    assert out[0] == "300w  open_mb05  cpu"
    assert any(line.split()[-2:] == ["0", "images"] for line in out if "missed" in line)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "300w.json",
        "300w_cumulative.png",
        "300w_worst.jpg",
    ]
    result = Result.load(tmp_path / "out/300w.json")
    # the labels are the predictions on the crop from the detector
    assert result.value("own.nme.detector.68") < 0.01
    assert result.value("own.nme.ground_truth.68") < 2
    assert result.settings["config"] == "open_mb05"
    assert len(result.settings["model_sha256"]) == 64
    assert str(tmp_path) not in (tmp_path / "out/300w.json").read_text()


def test_all_reports_missing_data(run, data, few, tmp_path):
    status, out, err = run("--all", "--data", data, "--no-plots")
    assert (status, err) == (0, [])
    skipped = [line.split(": ")[1] for line in out if line.startswith("skipped: ")]
    assert skipped == ["aflw2000-3d", "aflw", "biwi"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["300w.json", "negatives.json"]


def test_missing_data_of_a_named_benchmark_are_an_error(run, tmp_path):
    (tmp_path / "none").mkdir()
    status, out, err = run("aflw2000-3d", "--data", tmp_path / "none")
    assert (status, out) == (1, [])
    assert len(err) == 1
    assert err[0].startswith("tddfa: error: aflw2000-3d: no images with .mat files in")
    assert err[0].endswith(f"expected {benchmarks.BENCHMARKS['aflw2000-3d'].data}")
    assert len(err[0]) < 200 + len(str(tmp_path))


def test_no_data_at_all_is_a_failure(run, few, tmp_path):
    (tmp_path / "none").mkdir()
    status, out, _ = run("--all", "--data", tmp_path / "none")
    assert status == 1
    assert len(out) == 5


@pytest.mark.parametrize("what", ["--all", "300w"])
def test_a_wrong_folder_is_reported_before_any_work(run, what, tmp_path):
    (tmp_path / "file").touch()
    status, out, err = run(what, "--data", tmp_path / "none", "-c", "no model is loaded")
    assert (status, out, err) == (1, [], [f"tddfa: error: --data: {tmp_path / 'none'}: no such folder"])
    assert run(what, "--data", tmp_path / "file")[2] == [f"tddfa: error: --data: {tmp_path / 'file'} is not a folder"]
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be_written_are_reported_before_any_work(run, data, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(ibug, "evaluate", lambda _: pytest.fail("it was begun"))
    for out, named in (("data/own/astronaut.pts", "own/astronaut.pts"), ("data/own/astronaut.pts/a", "astronaut.pts")):
        status, _, err = run("300w", "--data", data, out=out)
        assert status == 1
        assert len(err) == 1
        assert err[0].startswith("tddfa: error: --out: ")
        assert err[0].endswith(f"{named} is not a folder")
    assert run("--write", data, data)[2] == [f"tddfa: error: --write: {data} is a folder"]


def test_results_of_a_part_do_not_overwrite_those_of_all(data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--limit", "1"]):
        assert main(["evaluate", "negatives", "--data", str(data), "--device", "cpu", "--no-plots", *options]) == 0
    whole = Result.load("results/evaluate/open_mb05/negatives.json")
    part = Result.load("results/evaluate/open_mb05_limit1/negatives.json")
    assert ("limit" in whole.settings, part.settings["limit"]) == (False, 1)
    assert "at most 1 of each set" in capfd.readouterr().out


def test_other_benchmarks_are_run_if_one_fails(run, data, few, tmp_path):
    (data / "own/astronaut.pts").write_text("no points")
    status, _, err = run("--all", "--data", data, "--no-plots")
    assert status == 1
    assert len(err) == 1
    assert "astronaut.pts: expected points between" in err[0]
    assert (tmp_path / "out/negatives.json").is_file()


def test_ctrl_c_keeps_finished_results(run, data, few, tmp_path, monkeypatch):
    def interrupted(setup):
        raise KeyboardInterrupt

    monkeypatch.setattr(negatives, "evaluate", interrupted)
    assert run("--all", "--data", data, "--no-plots")[0] == 130
    assert (tmp_path / "out/300w.json").is_file()


def test_two_runs_are_equal(run, data, tmp_path):
    for out in ("one", "two"):
        assert run("300w", "--data", data, "--no-plots", out=out)[0] == 0
    assert (tmp_path / "one/300w.json").read_bytes() == (tmp_path / "two/300w.json").read_bytes()


def test_the_video_reaches_jitter(run, monkeypatch, tmp_path):
    seen = []

    def evaluate(setup, video=None):
        seen.append(video)
        return Result("jitter", {}, ())

    monkeypatch.setattr(jitter, "evaluate", evaluate)
    (tmp_path / "a.mp4").touch()
    assert run("jitter", "--video", tmp_path / "a.mp4")[0] == 0
    assert run("jitter")[0] == 0
    assert seen == [tmp_path / "a.mp4", None]


def test_variants_of_a_model_do_not_overwrite_each_other(data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    every = (
        [],
        ["--precision", "int8"],
        ["--exact-crop"],
        ["--refine", "0"],
        ["--landmarks", "300w-lp"],
        ["--tiles", "off"],
        ["--min-score", "0.5"],
        ["--rotations", "all"],
    )
    for options in every:
        assert main(["evaluate", "negatives", "--data", str(data), "--device", "cpu", "--no-plots", *options]) == 0
    made = sorted(path.name for path in (tmp_path / "results/evaluate").iterdir())
    variants = ("exact_crop", "int8", "landmarks_300w-lp", "min_score0.5", "refine0", "rotations_all", "tiles_off")
    assert made == ["open_mb05", *(f"open_mb05_{variant}" for variant in variants)]


def test_limit_reaches_the_benchmark(run, data, monkeypatch):
    seen = []

    def evaluate(setup):
        seen.append(setup.limit)
        return Result("300w", {}, ())

    monkeypatch.setattr(ibug, "evaluate", evaluate)
    assert run("300w", "--data", data, "--limit", 7)[0] == 0
    assert seen == [7]


def test_without_matplotlib_all_else_is_written(run, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    status, out, err = run("300w", "--data", data)
    assert (status, err) == (0, [])
    assert [line for line in out if "a plot needs matplotlib: pip install matplotlib" in line]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["300w.json", "300w_worst.jpg"]


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        ([], 2, "BENCHMARK: expected names or --all, got neither"),
        (["300w", "--all"], 2, "BENCHMARK: expected names or --all, got both"),
        (["300w", "aflw3000"], 2, "aflw3000: no such benchmark"),
        (["300w", "-c", "none"], 1, "none: no such config"),
        (["--write", "RESULTS.md"], 2, "--write: expected folders of results"),
        (["--write", "RESULTS.md", "none"], 1, "none: expected .json files"),
        (["--write", "RESULTS.md", "a/x", "b/x"], 2, "folders with different names"),
    ],
)
def test_wrong_arguments(run, arguments, expected, message):
    status, out, err = run(*arguments)
    assert (status, out, len(err)) == (expected, [], expected)  # a wrong command line prints its usage too
    assert message in err[-1]


def test_names_in_any_case(run, data, few, tmp_path):
    status, _, err = run("300W", "--data", data, "--no-plots", "-c", "Open_MB05")
    assert (status, err) == (0, [])
    assert (tmp_path / "out/300w.json").is_file()


def test_write_compares_results(run, data, tmp_path):
    for out in ("one", "two"):
        run("300w", "--data", data, "--no-plots", out=out)
    content = json.loads((tmp_path / "two/300w.json").read_text())
    content["figures"] = content["figures"][:1]
    (tmp_path / "two/300w.json").write_text(json.dumps(content))
    status, out, err = run("--write", tmp_path / "page/R.md", tmp_path / "one", tmp_path / "two")
    assert (status, out, err) == (0, [str(tmp_path / "page/R.md")], [])
    page = (tmp_path / "page/R.md").read_text(encoding="utf-8")
    assert "|  | one | two |" in page
    assert "| own: faces missed by the detector, images ↓ | 0 | 0 |" in page


@pytest.mark.upstream
@pytest.mark.evaluation
def test_weights_of_3ddfa_v2_reproduce_its_formula(run, evaluation, fetched, reference, bases, tmp_path):
    """Crop, formula and NME are written out here; other tests compare the network with the plain one."""
    import cv2
    from scipy.io import loadmat

    from tddfa import Aligner

    status, _, err = run("aflw2000-3d", "-c", "mb05_120x120", "--data", evaluation, "--no-plots", "--limit", 100)
    assert (status, err) == (0, [])
    result = Result.load(tmp_path / "out/aflw2000-3d.json")
    regressor = Aligner.load("mb05_120x120", device="cpu").regressor
    rows = bases["keypoints"]
    landmarks = {name: bases[name].reshape(-1, bases[name].shape[-1])[rows] for name in ("u", "w_shp", "w_exp")}
    yaws, errors = [], []
    for path in sorted((evaluation / "aflw2000").glob("*.jpg"))[::5]:
        labels = loadmat(path.with_suffix(".mat"))
        ground_truth = labels["pt3d_68"][:2].T.astype(np.float64)
        square = reference.square_of_landmarks(ground_truth)
        outputs = regressor(reference.crop_at(cv2.imread(str(path)), square)[None])
        # back to the frame in which 3DDFA_V2's parameters are: y up, counted from 1
        camera = outputs["camera"][0] * [[1], [-1], [1]] + np.array([[0, 0, 0, 1], [0, 0, 0, 120], [0, 0, 0, 1]])
        param = np.concatenate([camera.reshape(-1), outputs["shape"][0], outputs["expression"][0]])
        points = reference.reconstruct(param, square, landmarks)
        distance = np.linalg.norm(points[:, :2] - ground_truth, axis=1).mean()
        errors.append(100 * distance / np.sqrt(np.prod(ground_truth.max(axis=0) - ground_truth.min(axis=0))))
        yaws.append(abs(np.degrees(labels["Pose_Para"][0, 1])))
    assert len(errors) == 100
    yaws, errors = np.array(yaws), np.array(errors)
    means = []
    for low, high in ((-1, 30), (30, 60), (60, 90)):
        means.append(errors[(yaws > low) & (yaws <= high)].mean())
        assert result.value(f"nme_2d.ground_truth.original.{max(low, 0)}-{high}") == pytest.approx(means[-1], abs=0.01)
    assert result.value("nme_2d.ground_truth.original.bins") == pytest.approx(np.mean(means), abs=0.01)
    assert result.value("nme_2d.ground_truth.original.all") == pytest.approx(errors.mean(), abs=0.01)
    by_photo = [item["nme_2d.ground_truth.original"] for item in result.items]
    np.testing.assert_allclose(by_photo, errors, atol=0.01)


def test_the_peer_needs_an_interpreter_and_a_model(run, data, tmp_path):
    status, _, err = run("cfp", "--data", data, "--peer-mediapipe", sys.executable)
    assert status == 2 and "expected both or neither, got only --peer-mediapipe" in err[-1]
    status, _, err = run("cfp", "--data", data, "--peer-mediapipe", sys.executable, "--face-landmarker", "none.task")
    assert status and "--face-landmarker: none.task: no such file" in err[-1]


def test_the_split_reaches_the_benchmark(run, data, monkeypatch):
    from tddfa.evaluate.benchmarks.hard_cases import identity

    asked = []
    monkeypatch.setattr(
        identity, "evaluate", lambda setup, split, **rest: asked.append((split, rest)) or Result("x", {}, [])
    )
    run("identity", "--data", data, "--split", "choose")
    run("identity", "--data", data)
    assert asked == [("choose", {}), ("report", {})]


@pytest.mark.parametrize(
    ("option", "benchmarks"), [("--split", "cfp"), ("--scan-weights", "scans"), ("--video", "jitter")]
)
def test_an_option_of_other_benchmarks_is_wrong(run, data, option, benchmarks):
    value = "choose" if option == "--split" else __file__
    status, _, err = run("negatives", "--data", data, option, value)
    assert status == 2
    assert f"{option}: expected a benchmark that uses it ({benchmarks}" in err[-1]


@pytest.mark.parametrize(("option", "name"), [("--scan-weights", "scans"), ("--video", "jitter")])
def test_a_file_that_is_missing_is_named_before_the_work(run, data, option, name):
    status, out, err = run(name, "--data", data, option, "missing.file")
    assert status == 1
    assert not out
    assert f"{option}: missing.file: no such file" in err[-1]
