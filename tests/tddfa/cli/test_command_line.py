"""What all commands have in common: inputs, spellings, defaults, exit statuses."""

import argparse
import re
import runpy
import signal

import pytest
from PIL import Image

from tddfa import cli
from tddfa._shared.terminal.parser import MISUSED
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.cli import scan as cli_scan
from tddfa.cli import video as cli_video
from tddfa.cli import webcam as cli_webcam
from tddfa.cli._common import FAILED, INTERRUPTED, NO_FACE
from tddfa.outputs import KINDS, image_kinds


def leaves(parser, name=""):
    """Every command, with its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, sub in action.choices.items():
                yield from leaves(sub, f"{name} {word}".strip())
            return
    yield name, parser


COMMANDS = dict(leaves(cli._parsers()[0]))
OPTIONS = [
    pytest.param(command, option, id=f"{command} {option}")
    for command, parser in COMMANDS.items()
    for option in sorted(parser._option_string_actions)
    if "-" in option.strip("-")
]
NEED_INPUT = {"image": "PHOTO", "video": "SOURCE", "align": "PHOTO"}
EMPTY_WORDS = ("image", "video", "align", "scan", "webcam", "avatar drive a.glb --out b.glb", "evaluate --out")


@pytest.fixture
def parsed(monkeypatch):
    """Options as the command gets them, without running it."""

    def parse(*arguments):
        seen = []
        command = {"image": cli_image, "video": cli_video, "webcam": cli_webcam, "scan": cli_scan}[arguments[0]]
        monkeypatch.setattr(command, f"run_{arguments[0]}", lambda options: seen.append(options) or 0)
        assert main(arguments) == 0
        return seen[0]

    return parse


def wrong(capsys, *arguments):
    """Usage and error of a command line."""
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == MISUSED
    return capsys.readouterr().err.splitlines()


class TestInputs:
    @pytest.mark.parametrize(
        ("words", "inputs", "kinds"),
        [
            ("a.jpg", ["a.jpg"], ["2d_sparse"]),
            ("-o 3d a.jpg", ["a.jpg"], ["3d"]),
            ("a.jpg -o 3d pose", ["a.jpg"], ["3d", "pose"]),
            ("-o 3d,pose a.jpg", ["a.jpg"], ["3d", "pose"]),
            ("-o 3d pose,depth a.jpg b.jpg", ["a.jpg", "b.jpg"], ["3d", "pose", "depth"]),
            ("-o 3D Pose a.jpg", ["a.jpg"], ["3d", "pose"]),
            ("-o 3d a.jpg pose", ["a.jpg", "pose"], ["3d"]),
            ("-o 3d 3d.jpg", ["3d.jpg"], ["3d"]),
            ("-o 3d -f a.jpg -- -b.jpg", ["a.jpg", "-b.jpg"], ["3d"]),
            ("--opt=3d pose", ["pose"], ["3d"]),
            ("-o3d pose", ["pose"], ["3d"]),
            ("a.jpg -o 3d --json b.jpg --raw npy c.jpg", ["a.jpg", "b.jpg", "c.jpg"], ["3d"]),
            ("-f a.jpg b.jpg -o pose pose", ["a.jpg", "b.jpg"], ["pose"]),
            ("-o ply a.jpg -o 3d ply", ["a.jpg"], ["ply", "3d"]),
        ],
    )
    def test_photos_and_kinds(self, parsed, words, inputs, kinds):
        options = parsed("image", *words.split())
        assert (options.inputs, options.opt) == (inputs, kinds)

    @pytest.mark.parametrize("words", ["v.mp4 -o 3d", "-o 3d v.mp4", "-f v.mp4 -o 3D", "--video_fp v.mp4 -o 3d"])
    def test_a_video(self, parsed, words):
        options = parsed("video", *words.split())
        assert (options.inputs, options.opt) == (["v.mp4"], ["3d"])

    @pytest.mark.parametrize(
        "words", ["v.mp4 -o 3d pose", "-o 3d,pose v.mp4", "-o 3d pose v.mp4", "-o 3d -o pose v.mp4"]
    )
    def test_a_video_of_two_kinds(self, parsed, words):
        options = parsed("video", *words.split())
        assert (options.inputs, options.opt) == (["v.mp4"], ["3d", "pose"])

    @pytest.mark.parametrize("words", ["v.mp4 -o ply", "v.mp4 -o 3d ply", "v.mp4 -o 3d,glb"])
    def test_a_video_of_a_kind_of_file(self, capsys, words):
        error = wrong(capsys, "video", *words.split())[-1]
        assert f"expected one or more of {', '.join(image_kinds())}, got " in error

    @pytest.mark.parametrize("words", ["1", "--source 1", "1 --mirror"])
    def test_a_camera(self, parsed, words):
        assert parsed("webcam", *words.split()).inputs == ["1"]
        assert parsed("webcam").inputs == ["0"]

    def test_a_misspelt_kind(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        error = wrong(capsys, "image", "-o", "3d", "poes")[-1]
        assert error.endswith("expected a kind or an input after 3d, got 'poes'; did you mean pose?")
        for command in ("image", "video"):
            assert wrong(capsys, command, "-o", "2d_sparce", "a.jpg")[-1].endswith(
                "'2d_sparce'; did you mean 2d_sparse?"
            )
        assert f"expected one or more of {', '.join(KINDS)}, got 'a.jpg'" in wrong(capsys, "image", "-o", "a.jpg")[-1]

    def test_two_kinds_for_one_window(self, capsys):
        assert wrong(capsys, "webcam", "-o", "3d,pose")[-1].endswith("expected one kind, got 3d, pose")
        for words in (["3d", "pose"], ["3d", "pose,box"]):
            assert f"got the kind {words[1]}; -o takes one kind" in wrong(capsys, "webcam", "-o", *words)[-1]

    @pytest.mark.parametrize("words", ["a.ply -o json csv", "-o JSON,csv a.ply", "-o json -o csv -f a.ply"])
    def test_files_of_a_scan(self, parsed, words):
        options = parsed("scan", *words.split())
        assert (options.inputs, options.opt) == (["a.ply"], ["json", "csv"])

    @pytest.mark.parametrize("command", EMPTY_WORDS)
    def test_an_empty_word(self, capsys, command):
        assert wrong(capsys, *command.split(), "")[-1].endswith("got an empty string")
        if command in NEED_INPUT:
            error = wrong(capsys, command, "a", "--out", "")[-1]
            assert error.endswith("--out: expected a folder, got an empty string")

    @pytest.mark.parametrize("words", ["align PHOTO --frontal", "webcam PHOTO --osc 127.0.0.1:9"])
    def test_a_model_without_a_mesh(self, capsys, root, tmp_path, words):
        photo = str(root / "examples/inputs/astronaut.jpg")
        command = [photo if word == "PHOTO" else word for word in words.split()]
        error = wrong(capsys, *command, "-c", "jvcr_s", "--out", str(tmp_path / "out"))[-1]
        assert "expected a model with a mesh, got one of 68 points; --fit-mesh" in error

    def test_fast(self, capsys, root, tmp_path):
        photo = str(root / "examples/inputs/astronaut.jpg")
        assert main(["image", photo, "--fast", "--show-flag", "false", "--refine", "2", "--out", str(tmp_path)]) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["astronaut_pose.jpg"]
        assert capsys.readouterr().err == "tddfa: warning: --refine: no effect with --fast\n"
        for other in (["-o", "3d"], ["--boxes", photo]):
            assert "--fast: " in wrong(capsys, "image", photo, "--fast", *other)[-1]

    def test_a_file_whose_name_is_nearly_a_kind(self, parsed, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "poes").touch()
        assert parsed("image", "-o", "3d", "poes").inputs == ["poes"]

    @pytest.mark.parametrize("command", NEED_INPUT)
    def test_without_input(self, capsys, command):
        usage, error = wrong(capsys, command)
        assert usage.startswith(f"usage: tddfa {command} [OPTION]... {NEED_INPUT[command]}")
        assert error.startswith(f"tddfa {command}: error: expected {NEED_INPUT[command]}: ")

    def test_two_videos(self, capsys):
        assert wrong(capsys, "video", "a.mp4", "b.mp4")[-1].endswith("expected one SOURCE, got a.mp4 b.mp4")


class TestSpelling:
    @pytest.mark.parametrize(("command", "option"), OPTIONS)
    def test_underscores_are_accepted(self, command, option):
        parser = COMMANDS[command]
        words = option[2:].replace("-", "_")
        for spelling in (f"--{words}", f"-{words}", option):
            assert parser._spelling(spelling) == option

    def test_options_with_dashes_are_many(self):
        assert len(OPTIONS) > 40, "so the test above has something to test"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_the_help_lists_one_spelling(self, command, capsys):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        listed = re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out)
        assert listed
        assert not [option for option in listed if "_" in option]
        for action in COMMANDS[command]._actions:
            assert sum(option.startswith("--") for option in action.option_strings) <= 1

    def test_names_of_3ddfa_v2_and_img2pose(self, parsed):
        options = parsed("image", "--img_fp", "a.jpg", "--show_flag=False", "-m", "GPU", "--onnx")
        assert (options.inputs, options.show_flag, options.mode) == (["a.jpg"], False, "gpu")
        options = parsed("video", "--video_fp", "a.mp4", "-n_pre", "2", "-n_next=3", "--smooth", "lookahead")
        assert (options.n_pre, options.n_next) == (2, 3)
        align = COMMANDS["align"]
        for name, option in (
            ("--images_path", "--images-path"),
            ("--output_path", "--out"),
            ("--face_size", "--size"),
            ("--order-method", "--order"),
            ("--max_size", "--min-size"),
        ):
            assert align._spelling(name) == option

    def test_values_in_any_case(self, parsed, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = parsed(
            "image", "a", "--device", "CPU", "--format", "PNG", "--page", "ALL", "--landmarks", "300W-LP",
            "--intrinsics", "EXIF", "--pose-style", "Axes", "--show-flag", "NO",
        )  # fmt: skip
        assert (options.device, options.format, options.page, options.landmarks) == ("cpu", "png", "all", "300w-lp")
        assert (options.intrinsics, options.pose_style, options.show_flag) == ("exif", "axes", False)
        (tmp_path / "EXIF").touch()
        assert parsed("image", "a", "--intrinsics", "EXIF").intrinsics == "EXIF", "a file of this name is meant"


class TestDefaults:
    def test_outputs_are_in_results(self, parsed):
        for words in (("image", "a"), ("video", "a"), ("webcam",)):
            assert str(parsed(*words).out) == "results"

    def test_photos_in_a_folder_of_ones_own(self, root, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(cli_image, "has_display", lambda: False)
        monkeypatch.chdir(tmp_path)
        photo = str(root / "examples/inputs/astronaut.jpg")
        assert main(["image", photo, "-o", "ply", "obj", "pose", "--device", "cpu", "--uv-size", "64"]) == 0
        assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
            "astronaut.mtl", "astronaut.obj", "astronaut.ply", "astronaut_obj.png", "astronaut_pose.jpg",
        ]  # fmt: skip
        text = (tmp_path / "results/astronaut.obj").read_text()
        assert "\nmtllib astronaut.mtl\n" in text
        assert "map_Kd astronaut_obj.png\n" in (tmp_path / "results/astronaut.mtl").read_text()

    def test_meshes_of_photos_with_numbers_keep_apart(self, tmp_path, root, two_people, monkeypatch, capsys):
        """A texture of x is not that of x_1."""
        import cv2

        monkeypatch.setattr(cli_image, "has_display", lambda: False)
        for name in ("x.jpg", "x_1.jpg", "x_obj.jpg"):
            cv2.imwrite(str(tmp_path / name), two_people)
        out = tmp_path / "out"
        options = ["-o", "obj", "--device", "cpu", "--uv-size", "64", "--out", str(out)]
        assert main(["image", *(str(tmp_path / name) for name in ("x.jpg", "x_1.jpg", "x_obj.jpg")), *options]) == 0
        assert len(list(out.iterdir())) == 3 * 4


class TestDemos:
    """They keep the example, the folder and the names of 3DDFA_V2."""

    @pytest.fixture
    def run(self, root, tmp_path, monkeypatch, capsys):
        """Run a script in a folder with the example inputs; return status and lines of stderr."""
        for module in (cli_image, cli_webcam):
            monkeypatch.setattr(module, "has_display", lambda: False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "examples").mkdir()
        (tmp_path / "examples/inputs").symlink_to(root / "examples/inputs")

        def call(script, *arguments):
            monkeypatch.setattr("sys.argv", [str(root / script), *arguments])
            with pytest.raises(SystemExit) as caught:
                runpy.run_path(str(root / script), run_name="__main__")
            return caught.value.code, capsys.readouterr().err.splitlines()

        interrupt = signal.getsignal(signal.SIGINT)  # a script leaves its own, for the end of its process
        yield call
        signal.signal(signal.SIGINT, interrupt)

    def test_photos(self, run, tmp_path):
        assert run("demo.py", "-o", "obj", "ply", "3d", "--uv_size", "64", "--device", "cpu") == (0, [])
        assert sorted(path.name for path in (tmp_path / "examples/results").iterdir()) == [
            "astronaut_3d.jpg", "astronaut_obj.mtl", "astronaut_obj.obj", "astronaut_obj.png", "astronaut_ply.ply",
        ]  # fmt: skip
        assert "\nmtllib astronaut_obj.mtl\n" in (tmp_path / "examples/results/astronaut_obj.obj").read_text()

    def test_videos(self, run, tmp_path):
        assert run("demo_video_smooth.py", "-e", "2", "--device", "cpu") == (0, [])
        assert (tmp_path / "examples/results/videos/crossing_2d_sparse_smooth.mp4").is_file()

    def test_cameras(self, run, clip, tmp_path):
        assert run("demo_webcam_smooth.py", "--source", str(clip), "--frames", "2", "--device", "cpu") == (0, [])
        assert (tmp_path / "examples/results/videos/webcam_2d_sparse_1.mp4").is_file()

    def test_an_input_replaces_the_example(self, run, root, tmp_path):
        photo = str(root / "examples/inputs/grace_hopper.jpg")
        assert run("demo.py", photo, "--out", "mine", "--device", "cpu") == (0, [])
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["grace_hopper_2d_sparse.jpg"]

    @pytest.mark.parametrize("script", ["demo.py", "demo_video.py", "demo_video_smooth.py", "demo_webcam_smooth.py"])
    def test_they_report_errors_by_their_own_name(self, run, script):
        status, (usage, error) = run(script, "--optt", "3d")
        assert status == 2
        assert usage.startswith(f"usage: {script} [OPTION]... [")
        assert error == f"{script}: error: unknown option --optt; did you mean --opt?"


class TestPage:
    """The page docs/command_line.md."""

    @pytest.fixture
    def page(self, root):
        return (root / "docs/command_line.md").read_text(encoding="utf-8")

    def test_exit_statuses(self, page, root, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(cli_image, "has_display", lambda: False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "examples").symlink_to(root / "examples")
        Image.new("RGB", (64, 64)).save(tmp_path / "no_face.png")
        rows = re.findall(r"^\| (\d+) \| [^|]+ \|(?: `tddfa ([^`]*)`)? \|$", page, re.M)
        assert [int(status) for status, _ in rows] == [0, FAILED, MISUSED, INTERRUPTED, NO_FACE]
        for status, words in rows:
            if words:
                try:
                    assert main([*words.split(), "--device", "cpu"]) == int(status), words
                except SystemExit as error:
                    assert error.code == int(status), words
        assert sum(bool(words) for _, words in rows) == 4

    def test_commands_are_parsed(self, page, parsed):
        lines = re.findall(r"^tddfa (.*)$", page, re.M)
        assert lines
        for line in lines:
            assert parsed(*line.split()).inputs

    def test_folders(self, page):
        for command, folder in re.findall(r"^\| `(\w+)` \| `([\w/]+)/` \|", page, re.M):
            assert str(COMMANDS[command].get_default("out")) == folder
