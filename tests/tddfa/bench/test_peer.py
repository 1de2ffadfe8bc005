"""Against made-up checkouts: modules with the names and the signatures of 3DDFA_V2's, and next to nothing in them."""

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
                print('a line of its own', flush=True)
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
            print('a line of its own', flush=True)
            os._exit(7)
        def ser_to_obj(img, ver_lst, tri, height, wfp): ver_lst[0][0, :] = 1
    """,
    "configs/mb05_120x120.yml": "{checkpoint_fp: weights/not_there.pth}",
    "configs/mb1_120x120.yml": "{arch: mobilenet, checkpoint_fp: weights/mb1.pth, size: 120}",
    "weights/mb1.pth": "",
}


@pytest.fixture
def checkout(tmp_path):
    """Writes a checkout; a file may be changed, or left out by None."""

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


def test_every_stage_of_a_checkout(checkout, pictures, tmp_path):
    with Peer(checkout(), pictures, tmp_path) as peer:
        assert (peer.network, peer.why_not_onnx) == ("onnx", "")
        assert Path(peer.config) == Path("configs/mb1_120x120.yml")  # the other one's weights are missing
        failing = {"pncc.1", "pncc.20", "ply"}
        for stage in set(peer.stages) - failing:
            assert 0 < peer.sample(stage) < 5, stage
            assert peer.sample(stage) > 0
        with pytest.raises(PeerError, match="ZeroDivisionError: so"):
            peer.sample("pncc.1")
        assert peer.sample("3d.1") > 0, "one stage that fails costs no other"
        with pytest.raises(PeerError, match="KeyError"):
            peer.sample("no such stage")
        if sys.platform == "linux":
            assert peer.peak_mb() > 5


def test_the_stages_have_our_names(checkout, pictures, tmp_path):
    from tddfa.bench.stages import stages

    with Peer(checkout(), pictures, tmp_path) as peer:
        assert set(peer.stages) <= {stage.name for stage in stages()}
        assert {"detect", "network.1", "decode.dense", "3d.1", "uv_tex.20", "obj", "video.step"} <= set(peer.stages)


def test_nothing_is_left_in_the_checkout(checkout, pictures, tmp_path):
    folder = checkout()
    before = sorted(folder.rglob("*"))
    with Peer(folder, pictures, tmp_path) as peer:
        for stage in ("detect", "2d_sparse.1", "obj", "process.warm"):
            peer.sample(stage)
        peer.cold()
    assert sorted(folder.rglob("*")) == before


def test_one_that_dies_comes_back_for_the_other_stages(checkout, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("tddfa.bench.peer._MAX_STARTS", 3)
    with Peer(checkout(), pictures, tmp_path) as peer:
        for _ in range(2):
            with pytest.raises(PeerError, match="ended with status 7: a line of its own"):
                peer.sample("ply")
            assert peer.sample("detect") > 0
        with pytest.raises(PeerError, match="ended with status 7"):
            peer.sample("ply")
        with pytest.raises(PeerError, match="it ended 3 times"):
            peer.sample("detect")


def test_one_that_hangs_is_not_waited_for(checkout, pictures, tmp_path, monkeypatch):
    text = "import time\ndef depth(*arguments, **options): time.sleep(60)"
    with Peer(changed(checkout, "utils/depth.py", text), pictures, tmp_path) as peer:
        monkeypatch.setattr("tddfa.bench.peer._SAMPLE_SECONDS", 0.3)
        with pytest.raises(PeerError, match="no answer in 0 s"):
            peer.sample("depth.1")
        monkeypatch.setattr("tddfa.bench.peer._SAMPLE_SECONDS", 60)
        assert peer.sample("3d.1") > 0


def test_without_its_onnx_classes_it_is_torch(checkout, pictures, tmp_path):
    folder = changed(checkout, "TDDFA_ONNX.py", "import no_such_package")
    with Peer(folder, pictures, tmp_path) as peer:
        assert peer.network == "torch"
        assert "no_such_package" in peer.why_not_onnx
        assert peer.sample("detect") > 0
        assert peer.sample("video.step") > 0


def test_the_smaller_network_goes_first(checkout, pictures, tmp_path):
    folder = changed(checkout, "configs/mb05_120x120.yml", "{checkpoint_fp: weights/mb1.pth}")
    with Peer(folder, pictures, tmp_path) as peer:
        assert Path(peer.config).stem == "mb05_120x120"


def test_a_process_from_start_to_end(checkout, pictures, tmp_path):
    with Peer(checkout(), pictures, tmp_path) as peer:
        started = time.perf_counter()
        assert 0.02 < peer.cold() <= time.perf_counter() - started
    with (
        Peer(changed(checkout, "utils/render.py", "1 / 0"), pictures, tmp_path) as peer,
        pytest.raises(PeerError, match="ZeroDivisionError"),
    ):
        peer.cold()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to cores")
def test_fewer_threads_are_fewer_cores(checkout, pictures, tmp_path):
    text = "import os\ndef depth(*arguments, **options): raise ValueError(len(os.sched_getaffinity(0)))"
    with (
        Peer(changed(checkout, "utils/depth.py", text), pictures, tmp_path, threads=1) as peer,
        pytest.raises(PeerError, match=r"ValueError: 1$"),
    ):
        peer.sample("depth.1")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("TDDFA.py", None, "expected a checkout of 3DDFA_V2"),
        ("TDDFA.py", "raise SystemExit(3)", "ended with status 3"),
        ("weights/mb1.pth", None, "no config in configs with its weights"),
        ("configs/mb1_120x120.yml", "{arch: mobilenet}", "KeyError: 'checkpoint_fp'"),
        ("FaceBoxes/FaceBoxes.py", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_checkouts_that_do_not_start(checkout, pictures, tmp_path, name, text, message):
    with pytest.raises(PeerError, match=message):
        Peer(changed(checkout, name, text), pictures, tmp_path)


def test_no_such_python(checkout, pictures, tmp_path):
    with pytest.raises(PeerError, match="no_such_python: cannot be run"):
        Peer(checkout(), pictures, tmp_path, python=str(tmp_path / "no_such_python"))


def test_one_that_says_something_else(checkout, pictures, tmp_path):
    # a Python that is none: it answers by something that is no JSON
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho hello\n")
    fake.chmod(0o755)
    if sys.platform != "win32":
        with pytest.raises(PeerError, match="no JSON: 'hello"):
            Peer(checkout(), pictures, tmp_path, python=str(fake))
