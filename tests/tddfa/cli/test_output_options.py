"""Everything about a kind of output comes from its row in the table: names, files, options, help."""

import importlib
import re
import shlex

import cv2
import numpy as np
import pytest

from tddfa import outputs, video
from tddfa._shared.terminal.parser import Parser
from tddfa.cli import image as cli_image
from tddfa.cli import main
from tddfa.cli import webcam as cli_webcam
from tddfa.outputs import ExtraFile, ImageKind, MeshKind

# required arguments, and options that are there for the users of other tools
NO_DEFAULT = {"help", "inputs", "benchmark", "what", "write", "mode", "onnx", "min_size"}


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for module in (cli_image, cli_webcam):
        monkeypatch.setattr(module, "has_display", lambda: False)


@pytest.fixture
def photo(root):
    return root / "examples/inputs/astronaut.jpg"


@pytest.fixture
def help_text(capsys):
    def call(command):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def madeup(monkeypatch):
    """A row more: the negative of the image."""

    def write_faces(drawn, path):
        path.write_text(str(len(drawn.faces)))

    row = ImageKind(
        name="madeup",
        help="the negative of the image",
        make=lambda drawn: 255 - drawn.image,
        options=("alpha",),
        extra_files=(ExtraFile(ending=lambda _: "_count.txt", write=write_faces),),
        summary=lambda drawn: ["a made-up line" for _ in drawn.faces],
    )
    monkeypatch.setitem(outputs.KINDS, row.name, row)
    return row


@pytest.mark.usefixtures("madeup")
class TestMadeUpImageKind:
    def test_image(self, photo, tmp_path, capsys):
        arguments = ["image", "-f", str(photo), "-o", "madeup", "--format", "png", "--alpha", "0.5", "--device", "cpu"]
        assert main([*arguments, "--out", str(tmp_path)]) == 0
        image = cv2.imread(str(photo))
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "astronaut_madeup.png")), 255 - image)
        assert (tmp_path / "astronaut_madeup_count.txt").read_text() == "1"
        printed = capsys.readouterr()
        assert printed.err == ""
        assert "a made-up line" in printed.out
        assert str(tmp_path / "astronaut_madeup_count.txt") in printed.out

    @pytest.mark.parametrize("name", ["q_madeup.jpg", "q_madeup_count.txt"])
    def test_its_files_replace_no_input(self, photo, tmp_path, capsys, name):
        for each in ("q.jpg", name):
            (tmp_path / each).write_bytes(photo.read_bytes())
        arguments = ["image", "-f", str(tmp_path / "q.jpg"), str(tmp_path / name), "-o", "madeup"]
        assert main([*arguments, "--out", str(tmp_path)]) == 1
        assert name in capsys.readouterr().err

    def test_video(self, clip, tmp_path):
        assert main(["video", "-f", str(clip), "-o", "madeup", "--out", str(tmp_path), "--device", "cpu"]) == 0
        before = [frame.image for frame in video.frames(clip)]
        after = [frame.image for frame in video.frames(tmp_path / "slide_madeup_smooth.mp4")]
        assert len(after) == len(before)
        assert np.abs(255 - after[12].astype(int) - before[12]).mean() < 6

    def test_webcam(self, clip, tmp_path):
        arguments = ["webcam", "--source", str(clip), "-o", "madeup", "--out", str(tmp_path), "--device", "cpu"]
        assert main(arguments) == 0
        assert (tmp_path / "webcam_madeup_1.mp4").is_file()

    @pytest.mark.parametrize("command", ["image", "video", "webcam"])
    def test_help(self, help_text, command):
        assert re.search(r"madeup +the negative of the image\n +\(--alpha\)", help_text(command))

    def test_a_stage_of_the_benchmark(self):
        from tddfa.bench.stages import stages

        assert {"madeup.1", "madeup.20"} <= {stage.name for stage in stages()}


class TestMadeUpMeshKind:
    @pytest.fixture(autouse=True)
    def row(self, monkeypatch):
        def write(drawn, path):
            path.parent.mkdir(exist_ok=True)
            np.savetxt(path, drawn.meshes[0].vertices)
            return [path]

        row = MeshKind(name="cloud", help="points as text", make=write, suffix=".xyz", needs=("onnx",))
        monkeypatch.setitem(outputs.KINDS, row.name, row)

    def test_image(self, photo, tmp_path, aligner):
        assert main(["image", "-f", str(photo), "-o", "cloud", "--out", str(tmp_path / "o"), "--device", "cpu"]) == 0
        assert [path.name for path in (tmp_path / "o").iterdir()] == ["astronaut.xyz"]
        assert np.loadtxt(tmp_path / "o/astronaut.xyz").shape == aligner.face_model.mean.shape

    def test_it_is_no_kind_of_a_video(self, clip, capsys, help_text):
        with pytest.raises(SystemExit) as caught:
            main(["video", "-f", str(clip), "-o", "cloud"])
        assert caught.value.code == 2
        assert "got 'cloud'" in capsys.readouterr().err
        assert "cloud" not in help_text("video")

    def test_a_missing_package_is_reported_before_the_work(self, photo, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        assert main(["image", "-f", str(photo), "-o", "cloud", "--out", str(tmp_path)]) == 1
        message = "tddfa: error: -o cloud needs onnx: pip install onnx\n"
        assert capsys.readouterr() == ("", message)

    def test_help(self, help_text):
        assert re.search(r"cloud +points as text\n +\(needs pip install onnx\)", help_text("image"))


class TestHelp:
    def test_every_kind_and_its_options_are_listed(self, help_text):
        text = help_text("image")
        for name, kind in outputs.KINDS.items():
            assert re.search(rf"^  {name} +{re.escape(kind.help)}$", text, re.M), name

    @pytest.mark.parametrize("command", ["video", "webcam"])
    def test_frames_have_the_drawn_kinds(self, help_text, command):
        listed = re.findall(r"^  (\w+)  ", help_text(command).split("kinds of output, and the options")[1], re.M)
        assert listed == list(outputs.image_kinds())

    @pytest.mark.parametrize("command", ["image", "video", "webcam", "align", "bench", "evaluate", "fetch"])
    def test_option_texts_have_one_form(self, command):
        """A fragment in lower case, without a full stop, with the default last in parentheses."""
        commands = Parser().add_subparsers()
        importlib.import_module(f"tddfa.cli.{command}").add_parser(commands)
        for action in commands.choices[command]._actions:
            assert action.help, action.dest
            first = action.help.split()[0]
            assert first == first.lower(), action.help
            assert not action.help.endswith("."), action.help
            if action.dest not in NO_DEFAULT:
                assert re.search(r"\(default: .*\)$", action.help), action.help


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o 2d_sparse --alpha 0.5", "--alpha: no effect without -o 3d or -o 6dof"),
        ("-o 3d --pose_style axes", "--pose-style: no effect without -o pose"),
        ("-o 3d --vertex_colors", "--vertex-colors: no effect without -o ply, -o obj or -o glb"),
        ("-o pose --space head", "--space: no effect without -o ply, -o obj or -o glb"),
        ("-o pose --background black", "--background: no effect without -o 3d, -o depth, -o pncc or -o 6dof"),
        ("-o pose,3d --background black --alpha 0.1 --pose_style axes", None),
        ("-o pose --style paper", None),
        ("-o pose --style classic", "--style: no effect without -o 3d"),
        ("-o pose --no-ears", "--no-ears: no effect without -o 3d, -o depth or -o pncc"),
        ("-o pose --json --fov 50", None),
    ],
)
def test_options_without_effect(photo, tmp_path, capsys, options, message):
    arguments = ["image", "-f", str(photo), "--out", str(tmp_path), "--device", "cpu", *shlex.split(options)]
    assert main(arguments) == 0
    assert capsys.readouterr().err == (f"tddfa: warning: {message}\n" if message else "")
