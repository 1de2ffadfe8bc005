"""Tests with synthetic checkouts: modules with the names and signatures of 3DDFA_V2's, nearly empty."""

import sys
import textwrap
import time
from pathlib import Path

import pytest

from tddfa.bench.peer import Peer, PeerError

FILES = {
    "FaceBoxes/__init__.py": "from .FaceBoxes import FaceBoxes",
    "FaceBoxes/FaceBoxes.py": """
        class FaceBoxes:
            def __init__(self, timer_flag=False): pass
            def __call__(self, img_):
                print('output of the checkout', flush=True)
                return [[10.0, 10.0, 100.0, 120.0, 0.99]]
    """,
    "FaceBoxes/FaceBoxes_ONNX.py": """
        from .FaceBoxes import FaceBoxes
        class FaceBoxes_ONNX(FaceBoxes): pass
    """,
    "TDDFA.py": """
        import numpy as np
        class TDDFA:
            def __init__(self, **kvs):
                assert kvs['checkpoint_fp'] == 'weights/mb1.pth'
                self.tri = np.array([[0, 1, 2]])
                self.model = lambda tensor: tensor
            def __call__(self, img_ori, objs, **kvs):
                for obj in objs:
                    if kvs.get('crop_policy', 'box') == 'landmark':
                        assert obj.shape[0] == 3
                    else:
                        assert len(obj) == 5
                return [np.zeros(62) for _ in objs], [[0, 0, 120, 120] for _ in objs]
            def recon_vers(self, param_lst, roi_box_lst, **kvs):
                count = 500 if kvs.get('dense_flag', False) else 68
                return [np.zeros((3, count)) for _ in param_lst]
    """,
    "TDDFA_ONNX.py": """
        from TDDFA import TDDFA
        class TDDFA_ONNX(TDDFA):
            def __init__(self, **kvs):
                super().__init__(**kvs)
                class Session:
                    def run(self, names, feed): return [feed['input']]
                self.session = Session()
    """,
    "utils/__init__.py": "",
    "utils/functions.py": """
        import matplotlib.pyplot as plt
        def parse_roi_box_from_bbox(bbox): return [float(v) for v in bbox[:4]]
        def crop_img(img, roi_box): return img[:50, :50]
        def draw_landmarks(img, pts, style='fancy', wfp=None, show_flag=False, **kwargs):
            assert not show_flag and pts[0].shape[1] == (500 if kwargs['dense_flag'] else 68)
            open(wfp, 'w').close()
    """,
    "matplotlib/__init__.py": "",
    "matplotlib/pyplot.py": "def close(what): pass",
    "utils/render.py": """
        def render(img, ver_lst, tri, alpha=0.6, show_flag=False, wfp=None, with_bg_flag=True): return img.copy()
    """,
    "utils/depth.py": "def depth(img, ver_lst, tri, show_flag=False, wfp=None, with_bg_flag=True): return img",
    "utils/pncc.py": """
        def pncc(img, ver_lst, tri, show_flag=False, wfp=None, with_bg_flag=True): raise ZeroDivisionError('so')
    """,
    "utils/uv.py": "def uv_tex(img, ver_lst, tri, uv_h=256, uv_w=256, uv_c=3, show_flag=False, wfp=None): return img",
    "utils/pose.py": """
        def viz_pose(img, param_lst, ver_lst, show_flag=False, wfp=None):
            img[:] = 0
            return img
    """,
    "utils/serialization.py": """
        import os
        def ser_to_ply(ver_lst, tri, height, wfp, reverse=True):
            print('output of the checkout', flush=True)
            os._exit(7)
        def ser_to_obj(img, ver_lst, tri, height, wfp): ver_lst[0][0, :] = 1
    """,
    "configs/mb05_120x120.yml": "{checkpoint_fp: weights/not_there.pth}",
    "configs/mb1_120x120.yml": "{arch: mobilenet, checkpoint_fp: weights/mb1.pth, size: 120}",
    "weights/mb1.pth": "",
}


@pytest.fixture
def checkout(tmp_path):
    """Write a checkout; keyword arguments replace files, None leaves a file out."""

    def write(**changes):
        for name, text in {**FILES, **{key.replace("__", "/"): text for key, text in changes.items()}}.items():
            if text is not None:
                path = tmp_path / "3DDFA_V2" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(textwrap.dedent(text))
        return tmp_path / "3DDFA_V2"

    return write


def changed(checkout, name, text):
    folder = checkout()
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def test_every_stage_of_a_checkout(checkout, bench_material, tmp_path):
    with Peer(checkout(), bench_material, tmp_path) as peer:
        assert (peer.network, peer.onnx_error) == ("onnx", "")
        assert Path(peer.config) == Path("configs/mb1_120x120.yml")  # the weights of the smaller network are missing
        failing = {"pncc.1", "pncc.20", "ply"}
        for stage in set(peer.stages) - failing:
            assert 0 < peer.sample(stage) < 5, stage
            assert peer.sample(stage) > 0
        with pytest.raises(PeerError, match="ZeroDivisionError: so"):
            peer.sample("pncc.1")
        assert peer.sample("3d.1") > 0, "a failed stage must not affect others"
        with pytest.raises(PeerError, match="KeyError"):
            peer.sample("no such stage")
        if sys.platform == "linux":
            assert peer.peak_mb() > 5


def test_stages_have_the_names_of_this_package(checkout, bench_material, tmp_path):
    from tddfa.bench.stages import stages

    with Peer(checkout(), bench_material, tmp_path) as peer:
        assert set(peer.stages) <= {stage.name for stage in stages()}
        expected = {"default.1", "default.20", "detect", "network.1", "decode.dense", "3d.1", "uv_tex.20", "obj"}
        assert expected | {"video.step"} <= set(peer.stages)


MEDIAPIPE = """
    import numpy as np
    from types import SimpleNamespace as Space
    __version__ = '0.10.21'
    class FaceMesh:
        def __init__(self, static_image_mode, max_num_faces):
            assert static_image_mode and max_num_faces == 1
        def process(self, image):
            assert image.shape == (720, 1280, 3) and image.dtype == np.uint8
            return Space(multi_face_landmarks=%s)
    solutions = Space(face_mesh=Space(FaceMesh=FaceMesh))
"""


@pytest.fixture
def mediapipe(tmp_path):
    """Write an interpreter that imports a nearly empty mediapipe, which detects such faces."""

    def write(faces):
        (tmp_path / "packages").mkdir()
        (tmp_path / "packages/mediapipe.py").write_text(textwrap.dedent(MEDIAPIPE % faces))
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return write


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
def test_mediapipe(mediapipe, bench_material, tmp_path):
    with Peer(None, bench_material, tmp_path, python=mediapipe("['a face']"), threads=1) as peer:
        assert (peer.network, peer.config) == ("FaceMesh", "mediapipe 0.10.21")
        assert peer.stages == ("default.1",)
        assert 0 < peer.sample("default.1") < 5


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
def test_mediapipe_without_a_face_is_not_timed(mediapipe, bench_material, tmp_path):
    with (
        Peer(None, bench_material, tmp_path, python=mediapipe("None")) as peer,
        pytest.raises(PeerError, match="FaceMesh finds no face in the image"),
    ):
        peer.sample("default.1")


def test_an_interpreter_without_mediapipe_is_an_error(bench_material, tmp_path):
    with pytest.raises(PeerError, match="No module named 'mediapipe'"):
        Peer(None, bench_material, tmp_path)


def test_no_file_is_left_in_the_checkout(checkout, bench_material, tmp_path):
    folder = checkout()
    before = sorted(folder.rglob("*"))
    with Peer(folder, bench_material, tmp_path) as peer:
        for stage in ("detect", "2d_sparse.1", "obj", "process.warm"):
            peer.sample(stage)
        peer.sample_process()
    assert sorted(folder.rglob("*")) == before


def test_a_crashed_process_is_restarted_for_other_stages(checkout, bench_material, tmp_path, monkeypatch):
    monkeypatch.setattr("tddfa.bench.peer._MAX_STARTS", 3)
    with Peer(checkout(), bench_material, tmp_path) as peer:
        for _ in range(2):
            with pytest.raises(PeerError, match="ended with status 7: output of the checkout"):
                peer.sample("ply")
            assert peer.sample("detect") > 0
        with pytest.raises(PeerError, match="ended with status 7"):
            peer.sample("ply")
        with pytest.raises(PeerError, match="the process ended 3 times"):
            peer.sample("detect")


def test_timeout(checkout, bench_material, tmp_path, monkeypatch):
    text = "import time\ndef depth(*arguments, **options): time.sleep(60)"
    with Peer(changed(checkout, "utils/depth.py", text), bench_material, tmp_path) as peer:
        monkeypatch.setattr("tddfa.bench.peer._SAMPLE_TIMEOUT", 0.3)
        with pytest.raises(PeerError, match="expected an answer within 0 s, got none"):
            peer.sample("depth.1")
        monkeypatch.setattr("tddfa.bench.peer._SAMPLE_TIMEOUT", 60)
        assert peer.sample("3d.1") > 0


def test_torch_classes_are_the_fallback(checkout, bench_material, tmp_path):
    folder = changed(checkout, "TDDFA_ONNX.py", "import no_such_package")
    with Peer(folder, bench_material, tmp_path) as peer:
        assert peer.network == "torch"
        assert "no_such_package" in peer.onnx_error
        assert peer.sample("detect") > 0
        assert peer.sample("video.step") > 0


def test_the_smaller_network_is_preferred(checkout, bench_material, tmp_path):
    folder = changed(checkout, "configs/mb05_120x120.yml", "{checkpoint_fp: weights/mb1.pth}")
    with Peer(folder, bench_material, tmp_path) as peer:
        assert Path(peer.config).stem == "mb05_120x120"


def test_whole_process(checkout, bench_material, tmp_path):
    with Peer(checkout(), bench_material, tmp_path) as peer:
        started = time.perf_counter()
        assert 0.02 < peer.sample_process() <= time.perf_counter() - started
    with (
        Peer(changed(checkout, "utils/render.py", "1 / 0"), bench_material, tmp_path) as peer,
        pytest.raises(PeerError, match="ZeroDivisionError"),
    ):
        peer.sample_process()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to cores")
def test_threads_limit_the_cores(checkout, bench_material, tmp_path):
    text = "import os\ndef depth(*arguments, **options): raise ValueError(len(os.sched_getaffinity(0)))"
    with (
        Peer(changed(checkout, "utils/depth.py", text), bench_material, tmp_path, threads=1) as peer,
        pytest.raises(PeerError, match=r"ValueError: 1$"),
    ):
        peer.sample("depth.1")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("TDDFA.py", None, "expected a checkout of 3DDFA_V2"),
        ("TDDFA.py", "raise SystemExit(3)", "ended with status 3"),
        ("weights/mb1.pth", None, "configs: expected one of mb05_120x120, mb1_120x120 with its weights, got none"),
        ("configs/mb1_120x120.yml", "{arch: mobilenet}", "KeyError: 'checkpoint_fp'"),
        ("FaceBoxes/FaceBoxes.py", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_checkouts_that_do_not_start(checkout, bench_material, tmp_path, name, text, message):
    with pytest.raises(PeerError, match=message):
        Peer(changed(checkout, name, text), bench_material, tmp_path)


def test_no_such_python(checkout, bench_material, tmp_path):
    with pytest.raises(PeerError, match="no_such_python: cannot be run"):
        Peer(checkout(), bench_material, tmp_path, python=str(tmp_path / "no_such_python"))


def test_an_answer_that_is_no_json(checkout, bench_material, tmp_path):
    # a program that is not Python, and prints no JSON
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho hello\n")
    fake.chmod(0o755)
    if sys.platform != "win32":
        with pytest.raises(PeerError, match="expected an answer in JSON, got 'hello"):
            Peer(checkout(), bench_material, tmp_path, python=str(fake))
