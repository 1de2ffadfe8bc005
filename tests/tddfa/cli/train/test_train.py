import argparse
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tddfa._shared.terminal.parser import Parser, UsageError
from tddfa.cli import main
from tddfa.cli.train._training import TRAININGS, positive, weighted_folder
from tddfa.train.engine.settings import Folder

REGRESSOR = TRAININGS[0]


@pytest.fixture
def options(root, tmp_path):
    """Parses options of ``tddfa train regressor``."""

    def parse(*arguments):
        parser = Parser()
        REGRESSOR.add_arguments(parser)
        config = str(root / "configs/train/open_mb05.yml")
        return parser.parse_args(["--config", config, "--out", str(tmp_path), *arguments])

    return parse


def test_options_hold_for_all_stages_of_jvcr(root, tmp_path):
    training, parser = next(each for each in TRAININGS if each.name == "jvcr"), Parser()
    training.add_arguments(parser)
    given = ["--config", str(root / "configs/train/jvcr_s.yml"), "--out", str(tmp_path)]

    def schedules(*arguments):
        settings = training.settings_of(parser.parse_args([*given, *arguments]))
        return [settings.schedule_of(stage) for stage in ("volumes", "coordinates", "joint")]

    assert [schedule.batch_size for schedule in schedules()] == [32, 64, 32]
    assert [schedule.batch_size for schedule in schedules("--batch", "8")] == [8] * 3
    assert [schedule.learning_rate for schedule in schedules("--learning-rate", "0.01")] == [0.01] * 3
    assert [schedule.batch_size for schedule in schedules("--learning-rate", "0.01")] == [32, 64, 32]


def test_options_override_settings(options):
    settings = REGRESSOR.settings_of(
        options("--minutes", "80", "--batch", "32", "--data", "a:2", "--data", "b", "--workers", "0")
    )
    assert settings.schedule.minutes == 80 and settings.schedule.batch_size == 32
    assert settings.schedule.steps == 10**9, "the clock alone ends it"
    assert settings.data == (Folder(Path("a"), 2.0), Folder(Path("b"), 1.0))
    assert settings.workers == 0
    assert REGRESSOR.settings_of(options("--minutes", "80", "--steps", "7")).schedule.steps == 7
    assert REGRESSOR.settings_of(options()).schedule.minutes is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a", ("a", 1.0)), ("a:0.5", ("a", 0.5)), ("a:b", ("a:b", 1.0)), ("C:/a:2", ("C:/a", 2.0)), (":3", (":3", 1.0))],
)
def test_folders_with_and_without_weights(text, wanted):
    folder, weight = weighted_folder(text)
    assert (str(folder.as_posix()), weight) == wanted


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_numbers_over_zero(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number over 0"):
        positive(text)


def test_settings_are_needed(options):
    given = options()
    given.config = None
    with pytest.raises(UsageError, match="--config"):
        REGRESSOR.settings_of(given)


@pytest.mark.parametrize(
    "given", [["--config", "a.yml"], ["--resume"], ["--batch", "3"], ["--seed", "0"], ["--device", "cuda"]]
)
def test_the_smoke_run_takes_no_other_options(given, tmp_path, capsys):
    pytest.importorskip("torch")
    assert main(["train", "regressor", "--smoke", "--out", str(tmp_path / "o"), *given]) == 2
    assert f"--smoke: expected --out alone, got {given[0]}" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("command", ["regressor", "detector", "multiview", "score", "fit", "prepare", "convention"])
def test_each_command_has_a_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_a_missing_file_is_one_line_and_exit_status_1(root, tmp_path, capsys):
    pytest.importorskip("torch")
    config = root / "configs/train/open_mb05.yml"
    arguments = [
        "train",
        "regressor",
        "--config",
        str(config),
        "--out",
        str(tmp_path),
        "--data",
        str(tmp_path / "none"),
    ]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "none") in error
    assert main(["train", "regressor", "--out", str(tmp_path)]) == 2
    assert "--config: expected a file of settings" in capsys.readouterr().err


def test_parsing_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tddfa.cli import main\n"
        "sys.exit(main(['train', 'regressor', '--out', 'nowhere']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "tddfa: error: training needs torch and onnx: pip install torch onnx\n"


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.name)
def test_each_training_names_what_exists(training, root):
    pytest.importorskip("torch")
    for name in (training.settings, training.train, training.export, training.smoke):
        assert callable(resolve_name(name)), name
    assert (root / "configs/train" / training.config).is_file()
    task = resolve_name(training.train.split(":")[0])
    assert getattr(task, "EXPORTED", "regressor.onnx") == training.exported


def test_the_module_runs_the_same_commands(root):
    done = subprocess.run(
        [sys.executable, "-m", "tddfa.train", "regressor"], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: tddfa train regressor")
