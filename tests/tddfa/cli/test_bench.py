import json
import subprocess
import sys

import pytest

from tddfa.cli import bench as cli_bench
from tddfa.cli import main

pytestmark = pytest.mark.usefixtures("rendered_once")


@pytest.fixture
def run(capfd):
    """Runs ``tddfa bench``; gives status, lines of stdout and lines of stderr."""

    def call(*arguments):
        capfd.readouterr()
        status = main(["bench", "--device", "cpu", *map(str, arguments)])
        captured = capfd.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call


def test_a_table_and_a_json_file(run, tmp_path):
    file = tmp_path / "out" / "bench.json"
    status, out, err = run("--quick", "--rounds", 2, "--stages", "crop,network.*", "--threads", 1, "--json", file)
    assert (status, err) == (0, [])
    assert "open_mb05 in float on cpu" in out[0]
    assert [line.split()[0] for line in out[2:6]] == ["crop", "network.1", "network.8", "network.32"]
    content = json.loads(file.read_text())
    assert content["about"]["rounds"] == 2
    assert set(content["rows"][0]["timings"]) == {"threads-1"}
    assert content["peak_mb"] == {}
    assert content["growth_mb"] is None


def test_memory_is_measured_unless_quick(run, monkeypatch, tmp_path):
    monkeypatch.setattr(cli_bench, "_IMAGES", 12)
    file = tmp_path / "bench.json"
    status, out, _ = run("--rounds", 1, "--stages", "read", "--threads", 1, "--json", file)
    assert status == 0
    content = json.loads(file.read_text())
    assert content["about"]["images"] == 12
    if content["peak_mb"]["read"] is not None:
        assert content["peak_mb"]["read"] > 20
        assert any("over 12 images" in line for line in out)


def test_a_peer_that_does_not_start_is_reported(run, tmp_path):
    (tmp_path / "TDDFA.py").write_text("raise OSError('broken')")
    status, out, _ = run("--quick", "--rounds", 1, "--stages", "crop", "--threads", 1, "--peer", tmp_path)
    assert status == 0
    assert [line for line in out if line.startswith("- 3DDFA_V2, 1 thread: all stages: ")]
    assert next(line for line in out if line.startswith("crop")).split()[-1] == "-"


def test_it_fails_if_no_stage_can_be_timed(run):
    # jvcr_s has points, and no mesh to draw
    status, out, _ = run("-c", "jvcr_s", "--quick", "--rounds", 1, "--stages", "3d.1", "--threads", 1)
    assert status == 1
    assert any("3d.1" in line and "expected a model with a mesh" in line for line in out), out


def test_options_are_checked_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tddfa.bench.run.run", lambda *_, **__: pytest.fail("the work began"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/TDDFA.py").touch()
    for arguments, message in (
        (["--json", tmp_path], f"--json: {tmp_path} is a folder"),
        (["--peer", tmp_path / "none"], f"--peer: {tmp_path / 'none'}: no such folder"),
        (["--peer", tmp_path / "full/TDDFA.py"], f"--peer: {tmp_path / 'full/TDDFA.py'} is not a folder"),
        (["--peer", tmp_path], f"--peer: {tmp_path}: expected a checkout of 3DDFA_V2, got a folder without TDDFA.py"),
        (
            ["--peer", tmp_path / "full", "--peer-python", "no-such-python"],
            "--peer-python: no-such-python: not a program that can be run",
        ),
        (["--peer-mediapipe", "no-such-python"], "--peer-mediapipe: no-such-python: not a program that can be run"),
    ):
        assert run("--quick", *arguments) == (1, [], [f"tddfa: error: {message}"])


def test_ctrl_c_ends_the_progress_line(run, monkeypatch, capfd):
    def interrupted(aligner, plan, *, progress):
        progress("round 1 of 5")
        raise KeyboardInterrupt

    monkeypatch.setattr("tddfa.bench.run.run", interrupted)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    status, _, err = run("--quick")
    assert status == 130
    assert err[-1].endswith("interrupted")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stages", "nothing"], "'nothing' matches none"),
        (["--peer-python", "python"], "--peer-python: expected --peer DIR too, got none"),
    ],
)
def test_wrong_arguments(run, arguments, message):
    status, _, err = run("--quick", *arguments)
    assert status == 2
    assert err[0] == "usage: tddfa bench [OPTION]..."
    assert message in err[1]


def test_an_unknown_model_is_one_line(run):
    status, _, err = run("--quick", "-c", "no_such_model")
    assert (status, len(err)) == (1, 1)
    assert "no_such_model" in err[0]


def test_rounds_must_be_positive(run, capfd):
    with pytest.raises(SystemExit):
        run("--rounds", 0)
    assert "--rounds" in capfd.readouterr().err


def test_processes_and_the_results_have_all_options_of_the_model(run, tmp_path, monkeypatch):
    commands, loadings = [], []
    monkeypatch.setattr(cli_bench, "_IMAGES", 12)
    monkeypatch.setattr("tddfa.bench.memory.growth_mb", lambda images, loading, **_: loadings.append(loading))
    real = subprocess.run

    def spy(command, **options):
        commands.append(list(map(str, command)))
        return real([sys.executable, "-c", ""], **options)

    monkeypatch.setattr("tddfa.bench.run.subprocess.run", spy)
    file = tmp_path / "bench.json"
    options = ("--refine", 0, "--tiles", "off", "--rotations", "off", "--min-score", 0, "--exact-crop")
    arguments = (*options, "--landmarks", "300w-lp")
    status, out, _ = run("--rounds", 1, "--stages", "process.cold", "--threads", 1, "--json", file, *arguments)
    assert status == 0
    assert any(line.startswith("process.cold") for line in out)
    line = " ".join(commands[0])
    words = ("--refine 0", "--tiles off", "--rotations off", "--min-score 0", "--exact-crop", "--landmarks 300w-lp")
    for part in words:
        assert part in line
    expected = {"refine": 0, "tiles": "off", "rotations": "off", "min_score": 0, "convention": "300w-lp"}
    about = json.loads(file.read_text())["about"]
    for given in (loadings[0], about):
        assert {name: given[name] for name in expected} == expected
        assert given["exact_crop"] is True
