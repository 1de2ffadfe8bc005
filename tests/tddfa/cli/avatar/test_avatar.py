"""``tddfa video`` and ``tddfa webcam`` with avatars, and ``tddfa avatar drive``."""

import csv
import json
import socket

import cv2
import numpy as np
import pytest
from builders_gltf import problems

from tddfa import export
from tddfa.cli import main
from tddfa.cli.avatar._options import _address
from tddfa.export.gltf import Gltf


@pytest.fixture
def run(capsys):
    def call(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return call


@pytest.fixture
def listener():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(2)
        yield listening


def test_a_video_becomes_an_animated_head(run, clip, tmp_path):
    target = tmp_path / "take.glb"
    status, out, err = run("video", "-f", clip, "--no-video", "--save", target, "--threads", 1)
    assert (status, err) == (0, [])
    assert out[-1] == f"  {'faces':10} {target}"
    tree = Gltf.decode(target.read_bytes()).tree
    assert [node["name"] for node in tree["nodes"]] == ["face_1"]
    counts = {tree["accessors"][sampler["input"]]["count"] for sampler in tree["animations"][0]["samplers"]}
    assert counts == {21, 2}  # no face in the first three of 24 frames
    assert problems(target) == [[]]


def test_a_video_becomes_a_take_of_live_link_face_and_is_sent(run, clip, tmp_path, listener):
    pytest.importorskip("pythonosc")
    target = tmp_path / "take.livelink.csv"
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    options = ("--no-video", "--save", target, "--osc", address, "--threads", 1, "-e", 7)
    status, out, err = run("video", "-f", clip, *options)
    assert (status, err) == (0, [])
    assert out[-2:] == [f"  {'faces':10} {target}", f"  {'osc':10} 8 frames to {address}"]
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert [row["BlendShapeCount"] for row in rows] == ["0"] * 3 + ["61"] * 5
    assert rows[5]["Timecode"] == "00:00:00:05.000"
    sizes = [len(listener.recv(65536)) for _ in range(8)]
    assert max(sizes[:3]) < 200 < 2000 < min(sizes[3:])


def test_nothing_is_sent_unless_asked(run, clip, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert run("video", "-f", clip, "--no-video", "--save", tmp_path / "x.glb", "-e", 4)[0] == 0


def test_a_video_without_a_face(run, clip, tmp_path):
    status, out, err = run("video", "-f", clip, "--no-video", "--save", tmp_path / "x.glb", "-e", 2)
    assert (status, err) == (0, [])
    assert out[-1] == f"  {'faces':10} no face: no file was written"
    assert list(tmp_path.iterdir()) == []


def test_a_photo_of_the_resting_face(run, clip, tmp_path, root):
    def smiles(neutral):
        target = tmp_path / "x.livelink.csv"
        options = ("--no-video", "--save", target, "--neutral", neutral, "-e", 5)
        assert run("video", "-f", clip, *options)[0] == 0
        return [
            float(row["MouthSmileLeft"])
            for row in csv.DictReader(target.read_text().splitlines())
            if row["MouthSmileLeft"]
        ]

    # the same face, which smiles
    assert max(smiles(root / "examples/inputs/astronaut.jpg")) < 0.1 < 0.4 < min(smiles("none"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--save", "x.csv"), "got 'x.csv'; Live Link Face's format is 'x.livelink.csv'"),
        (("--osc", "host:0"), "argument --osc: expected HOST or HOST:PORT with a port from 1 to 65535, got 'host:0'"),
        (("--osc", ":39539"), "got ':39539'"),
        (("--save", "x.glb", "--neutral", "nobody.jpg"), "--neutral: expected auto, none or a photo"),
        (("--blendshapes", "apple"), "argument --blendshapes: invalid choice: 'apple'"),
    ],
)
def test_bad_options(run, clip, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("video", "-f", clip, "--no-video", "-e", 4, *options)
    assert status == 2
    assert message in err[-1]
    assert list(tmp_path.iterdir()) == []


def test_options_without_effect(run, clip, tmp_path):
    options = ("--blendshapes", "vrm", "--neutral", "none", "--no-video", "--save", tmp_path / "x.npz", "-e", 3)
    _, _, err = run("video", "-f", clip, *options)
    assert err == [
        "tddfa: warning: --blendshapes: no effect without --osc",
        "tddfa: warning: --neutral: no effect without --osc or --save with a .glb or .livelink.csv file",
    ]


def test_a_neutral_photo_without_a_face(run, clip, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((80, 80, 3), 128, np.uint8))
    options = ("--no-video", "--save", tmp_path / "x.glb", "--neutral", tmp_path / "grey.png", "-e", 4)
    status, _, err = run("video", "-f", clip, *options)
    assert status == 2
    assert "--neutral: expected a photo with a face" in err[-1]
    assert not (tmp_path / "x.glb").exists()


def test_python_osc_is_missing(run, clip, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythonosc.udp_client", None)
    status, _, err = run("video", "-f", clip, "--no-video", "--osc", "127.0.0.1", "-e", 4)
    assert (status, err[-1]) == (1, "tddfa: error: the VMC protocol needs python-osc: pip install python-osc")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 39539)), ("host:1234", ("host", 1234)), ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 39539)),
    ],
)  # fmt: skip
def test_addresses(text, address):
    assert _address(text) == address


def test_webcam_sends_each_frame(run, clip, tmp_path, listener, monkeypatch):
    pytest.importorskip("pythonosc")
    monkeypatch.delenv("DISPLAY", raising=False)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    status, out, err = run("webcam", "--source", clip, "--out", tmp_path, "--osc", address, "--threads", 1)
    assert (status, err) == (0, [])
    shown = int(out[-1].split()[0])
    packets = []
    listener.settimeout(0.1)
    with pytest.raises(TimeoutError):
        while True:
            packets.append(listener.recv(65536))
    assert len(packets) == shown > 0


class TestDrive:
    @pytest.fixture
    def model(self, aligner, astronaut, tmp_path):
        (path,) = export.save(tmp_path / "avatar.glb", export.rigs(aligner(astronaut), aligner.decoder))
        return path

    def test_an_avatar_moves_as_the_face_does(self, run, clip, model, tmp_path):
        target = tmp_path / "out/animated.glb"
        status, out, err = run("avatar", "drive", model, clip, "--out", target, "--threads", 1)
        assert (status, err) == (0, [])
        assert out == [
            f"{clip}: 21 frames with the face",
            f"  {'shapes':10} 52 of 52; face_1 turns with the head",
            f"  {'glb':10} {target}",
        ]
        assert problems(target) == [[]]
        tree = Gltf.decode(target.read_bytes()).tree
        assert {channel["target"]["path"] for channel in tree["animations"][0]["channels"]} == {"weights", "rotation"}

    def test_files_that_will_not_do(self, run, clip, model, tmp_path):
        text, folder = tmp_path / "text.glb", tmp_path / "folder.glb"
        text.write_text(json.dumps({}))
        folder.mkdir()
        for arguments, status, message in (
            ((text, clip, "--out", tmp_path / "x.glb"), 1, f"{text}: not a complete binary glTF file (.glb)"),
            (("/dev/zero", clip, "--out", tmp_path / "x.glb"), 1, "/dev/zero: expected a file, got a device"),
            ((tmp_path / "gone.glb", clip, "--out", tmp_path / "x.glb"), 1, f"{tmp_path / 'gone.glb'}"),
            ((model, clip, "--out", tmp_path / "x.gltf"), 2, "--out: expected a name that ends in .glb"),
            ((model, clip), 2, "--out"),
            ((model, clip, "--out", model), 2, "--out: expected another file than MODEL.glb"),
            ((model, clip, "--out", folder), 1, f"--out: {folder} is a folder"),
            (
                (model, clip, "--out", tmp_path / "x.glb", "-c", "jvcr_s"),
                2,
                "avatar drive: expected a model with a mesh",
            ),
        ):
            before = model.read_bytes()
            ended, _, err = run("avatar", "drive", *arguments)
            assert ended == status
            assert message in err[-1]
            assert model.read_bytes() == before
        assert not (tmp_path / "x.glb").exists()
