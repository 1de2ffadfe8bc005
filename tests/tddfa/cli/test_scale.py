"""``tddfa scale``: its lines, its exit statuses, and what it passes on."""

import builtins
import json

import pytest

from builders_scale import faces
from tddfa.cli import main
from tddfa.cli._common import FAILED, INTERRUPTED, NO_FACE

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from tddfa import scale
from tddfa.scale import Report


@pytest.fixture
def photos(scale_photos):
    return scale_photos


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command in this process; return its status, output and errors."""

    def run(*arguments, workers="0"):
        status = main(["scale", *map(str, arguments), "--out", str(tmp_path / "out"), "--workers", workers])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def asked(monkeypatch):
    """The job and the cluster that the command asks for; the report is set by the test."""
    seen = {"report": Report(photos=3, faces=4)}

    def fake(job, cluster, **options):
        seen.update(job=job, cluster=cluster, **options)
        return seen["report"]

    monkeypatch.setattr(scale, "run", fake)
    return seen


def test_photos(run, root, tmp_path):
    status, out, err = run(root / "examples/inputs/astronaut.jpg", root / "examples/inputs/two_people.jpg")
    assert (status, err) == (0, "")
    first, second, third = out.splitlines()
    assert first.startswith("2 photos done; ")
    assert second.split() == ["faces", "3", "in", f"{tmp_path / 'out'}/faces"]
    assert third.split()[:2] == ["errors", "0"]
    assert len(faces(tmp_path / "out")) == 3


def test_errors_give_status_1_and_no_face_255(run, photos, tmp_path):
    status, out, _ = run(photos / "cut.jpg", photos / "face_0.png")
    assert status == FAILED
    assert "errors     1 in " in out
    assert main(["scale", str(photos / "grey.png"), "--out", str(tmp_path / "none"), "--workers", "0"]) == NO_FACE


def test_a_restart_says_what_was_done_before(run, photos):
    run(photos / "face_0.png")
    assert "0 photos done; 1 of 1 shards were done before; " in run(photos / "face_0.png")[1]


def test_another_option_is_refused_with_a_line(run, photos, tmp_path):
    run(photos / "face_0.png")
    status, out, err = run(photos / "face_0.png", "--precision", "int8")
    assert (status, out) == (FAILED, "")
    assert err.startswith(f"tddfa: error: {tmp_path / 'out'}: the results in it were made with ")
    assert 'precision "float", not "int8"' in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("report", "status", "line"),
    [
        (Report(interrupted=True, faces=1), INTERRUPTED, "interrupted: run the same command again to continue"),
        (Report(stopped=True, faces=1, new_errors=8), FAILED, "--max-errors 7: 8 errors; run the same command again"),
        (Report(errors=1, faces=1), FAILED, "errors     1 in "),
        (Report(), NO_FACE, "faces      0 in "),
        (Report(videos=2, frames=9, faces=1), 0, "0 photos and 2 videos (9 frames) done; "),
    ],
)
def test_the_status_and_lines_of_a_report(run, asked, report, status, line):
    asked["report"] = report
    found, out, err = run("a.jpg", "--max-errors", "7")
    assert found == status
    assert line in out + err


def test_options_reach_the_job(run, asked):
    run(
        "a", "s3://b/c", "--column", "image", "--dense", "--crops", "--meshes", "glb", "--shard-size", "9",
        "--batch-size", "3", "--max-errors", "5", "--retry-errors", "--address", "auto", "--cpus-per-worker", "2",
        "--gpus-per-worker", "0.25",
        "--decode-cpus", "3", "--refine", "0", "--precision", "int8", "--smooth", "none", "--threads", "4",
        workers="6",
    )  # fmt: skip
    job, cluster = asked["job"], asked["cluster"]
    assert (job.sources, job.column, job.dense, job.crops, job.meshes) == (["a", "s3://b/c"], "image", True, 112, "glb")
    assert (job.shard_size, job.batch_size, job.threads) == (9, 3, 4)
    assert (job.model["refine"], job.model["precision"], job.model["device"]) == (0, "int8", "auto")
    assert job.tracking["smooth"] == "none"
    assert (cluster.workers, cluster.address, cluster.cpus_per_worker, cluster.gpus_per_worker) == (6, "auto", 2, 0.25)
    assert cluster.decode_cpus == 3
    assert (asked["max_errors"], asked["retry_errors"]) == (5, True)


def test_workers_without_a_gpu_run_on_the_cpu(run, asked):
    run("a", workers="2")
    assert asked["job"].model["device"] == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--out", "b", "--cpus-per-worker", "0"], "--cpus-per-worker: expected a number over 0, got 0"),
        (["a", "--out", "b", "--gpus-per-worker", "x"], "expected a number from 0 to 1024, got 'x'"),
        (["a", "--out", "b", "--crops", "8"], "expected a whole number from 32 to 1024, got '8'"),
        (["a"], "the following arguments are required: --out"),
        (["--out", "b"], "expected SRC: photos, videos, folders"),
    ],
)
def test_wrong_options(arguments, message, capsys):
    try:
        status = main(["scale", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_missing_packages_are_named(run, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "tddfa.scale":
            raise ModuleNotFoundError("No module named 'fsspec'", name="fsspec")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    status, _, err = run("a.jpg")
    assert status == FAILED
    assert (
        err
        == "tddfa: error: tddfa scale needs fsspec and pyarrow and ray[data]: pip install fsspec pyarrow 'ray[data]'\n"
    )


def test_the_job_file_is_that_of_the_command(run, photos, tmp_path):
    run(photos / "face_0.png", "--crops", "64")
    content = json.loads((tmp_path / "out/_tddfa/job.json").read_text())
    assert (content["crops"], content["precision"], content["config"]) == (64, "float", "open_mb05")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--landmarks", "foo"], "--landmarks: expected one of"),
        (["-c", "jvcr_s", "--meshes", "ply"], "--meshes: "),
        (["--weights", "missing"], "--weights: expected a folder, got 'missing'"),
        (["--decode-cpus", "2"], "--decode-cpus: needs Ray, which --workers 0 does not use"),
        (["--address", "10.0.0.1:6379"], "--address: needs Ray, which --workers 0 does not use"),
    ],
)
def test_wrong_options_are_told_before_the_work(run, photos, tmp_path, options, message):
    status, out, err = run(photos / "face_0.png", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_no_place(photos):
    with pytest.raises(SystemExit) as ended:
        main(["scale", str(photos / "face_0.png"), "--out", ""])
    assert ended.value.code == 2
