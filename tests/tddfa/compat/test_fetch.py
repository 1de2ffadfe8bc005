import hashlib
import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tddfa import Aligner
from tddfa.cli import main
from tddfa.compat import convert_config, download, fetch
from tddfa.compat.config import CROP
from tddfa.model.assets import AssetError, config_path
from tddfa.model.config import Config

pytest.importorskip("onnx")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def checkout(tmp_path, monkeypatch, reference, mobilenet_state, faceboxes_state, whitening, tiny_bases, pickled_file):
    """A small made-up checkout of 3DDFA_V2; its hashes replace those of the released files."""
    root = tmp_path / "checkout"
    pickled_file("checkout/configs/param_mean_std_62d_120x120.pkl", whitening)
    pickled_file("checkout/configs/bfm_noneck_v3.pkl", tiny_bases)
    rng = np.random.default_rng(4)
    pickled_file("checkout/configs/tri.pkl", rng.integers(0, 120, (3, 90)).astype(np.int32))
    savemat(root / "configs/BFM_UV.mat", {"UV": rng.uniform(0, 1, (500, 2))})
    np.save(root / "configs/indices.npy", np.arange(120, dtype=np.int32))
    mean = tiny_bases["u"].reshape(-1, 3)
    codes = (mean - mean.min(axis=0)) / np.ptp(mean, axis=0)
    np.save(root / "configs/ncc_code.npy", codes.T.astype(np.float32))
    for name, state, layout in (
        ("weights/mb05_120x120.pth", mobilenet_state, reference.old_file),
        ("weights/mb1_120x120.pth", {k: v * np.float32(0.9) for k, v in mobilenet_state.items()}, reference.zip_file),
        ("FaceBoxes/weights/FaceBoxesProd.pth", faceboxes_state, reference.old_file),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(reference.torch_file(state, layout))
    kinds = {name: known.split(":")[0] for name, known in fetch.FILES.items()}
    files = {name: f"{kind}:{download.digest(root / name, kind)}" for name, kind in kinds.items()}
    monkeypatch.setattr(fetch, "FILES", files)
    return root


def run(*arguments):
    return main(["fetch", "3ddfa_v2", *map(str, arguments)])


def test_hashes_are_pinned():
    for name, known in fetch.FILES.items():
        kind, _, value = known.partition(":")
        assert len(value) == {"sha256": 64, "git": 40}[kind], name
        int(value, 16)
    assert len(fetch.COMMIT) == 40
    assert fetch.COMMIT in fetch.SOURCE


def test_from_a_checkout(cache, checkout, capsys, rng):
    assert run("--from", checkout) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "academic use only" in out
    assert "ready: -c mb05_120x120" in out
    assert "ready: -c mb1_120x120" in out
    names = {p.name for p in (cache / "3ddfa_v2").iterdir()}
    assert names == {
        "made.json", "faceboxes.onnx", "bfm_noneck_v3.npz", "open_mb05_3ddfa_v2.yml",
        *(f"{name}.{suffix}" for name in fetch.REGRESSORS for suffix in ("onnx", "yml")),
    }  # fmt: skip
    image = rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)
    for name in fetch.REGRESSORS:
        assert config_path(name) == cache / f"3ddfa_v2/{name}.yml"
        aligner = Aligner.load(name, device="cpu")
        (face,) = aligner(image, boxes=[[10, 10, 60, 70]])
        assert aligner.decoder.mesh(face).vertices.shape == (120, 3)
        assert aligner.crop.rounded
        assert not Aligner.load(name, device="cpu", exact_crop=True).crop.rounded


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", "null", '{"x.onnx": "key"', "1" * 5000])
def test_a_damaged_list_of_converted_files_is_as_none(tmp_path, text):
    (tmp_path / "x.onnx").touch()
    (tmp_path / "made.json").write_text(text)
    made = fetch._Made(tmp_path)
    assert not made.there("x.onnx")
    assert made.make("x.onnx", {}, lambda: b"converted")
    assert fetch._Made(tmp_path).there("x.onnx")


def test_it_converts_once(cache, checkout, capsys):
    run("--from", checkout)
    before = {p: p.stat().st_mtime_ns for p in (cache / "3ddfa_v2").glob("*.[on]*")}
    capsys.readouterr()
    assert run("--from", checkout) == 0
    assert capsys.readouterr().out.count("already there") == 4
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_another_face_model_replaces_it(cache, checkout, tiny_bases, tmp_path):
    run("--from", checkout)
    before = hashlib.sha256((cache / "3ddfa_v2/bfm_noneck_v3.npz").read_bytes()).digest()
    np.savez(tmp_path / "mine.npz", **(tiny_bases | {"w_shp": 2 * tiny_bases["w_shp"]}))
    assert run("--from", checkout, "--bfm", tmp_path / "mine.npz") == 0
    assert hashlib.sha256((cache / "3ddfa_v2/bfm_noneck_v3.npz").read_bytes()).digest() != before


def test_a_face_model_of_another_mean_is_refused(cache, checkout, tiny_bases, tmp_path, capsys):
    changed = tiny_bases["u"].copy()
    changed[100] += 5e4
    np.savez(tmp_path / "mine.npz", **(tiny_bases | {"u": changed}))
    assert run("--from", checkout, "--bfm", tmp_path / "mine.npz") == 1
    assert "its mean face is not that of configs/ncc_code.npy" in capsys.readouterr().err


def test_a_missing_file_gives_one_error_and_the_others_are_converted(cache, checkout, capsys):
    (checkout / "weights/mb1_120x120.pth").unlink()
    assert run("--from", checkout) == 1
    out, err = capsys.readouterr()
    assert "ready: -c mb05_120x120" in out
    missing = checkout / "weights/mb1_120x120.pth"
    assert err == f"tddfa: error: mb1_120x120.onnx: not made: {missing}: no such file\n"
    with pytest.raises(AssetError, match=r"mb1_120x120: no such config; `tddfa fetch 3ddfa_v2` gets it"):
        config_path("mb1_120x120")


def test_without_a_face_model_only_the_detector_can_be_used(cache, checkout, capsys):
    (checkout / "configs/bfm_noneck_v3.pkl").unlink()
    assert run("--from", checkout) == 1
    assert "bfm_noneck_v3.npz: not made" in capsys.readouterr().err
    assert [path.stem for path in (cache / "3ddfa_v2").glob("*.yml")] == [fetch.WITH_OURS]
    assert (cache / "3ddfa_v2/mb05_120x120.onnx").is_file()
    assert run("--from", checkout, "--bfm", checkout / "none.pkl") == 1
    assert "none.pkl: no such face model" in capsys.readouterr().err


def test_a_changed_file_is_refused_with_both_hashes(cache, checkout, capsys):
    path = checkout / "weights/mb05_120x120.pth"
    path.write_bytes(path.read_bytes() + b"\0")
    assert run("--from", checkout) == 1, "one of the two models"
    err = capsys.readouterr().err
    assert f"{path}: not the released file" in err
    assert fetch.FILES["weights/mb05_120x120.pth"].split(":")[1] in err
    assert download.digest(path, "sha256") in err
    assert err.count("\n") == 1


def test_no_such_folder(cache, tmp_path, capsys):
    assert run("--from", tmp_path / "nowhere") == 1
    assert capsys.readouterr().err == f"tddfa: error: {tmp_path / 'nowhere'}: no such folder\n"


def test_without_onnx_the_error_names_it(cache, checkout, capsys, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *rest, **options):
        if name.split(".")[0] == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run("--from", checkout) == 1
    err = capsys.readouterr().err
    assert "No module named 'onnx': pip install onnx" in err
    assert "Traceback" not in err


@pytest.fixture
def source(checkout):
    """The made-up checkout behind a server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=checkout)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_from_the_network(cache, source):
    printed = []
    report = fetch.fetch(source=source, print_line=printed.append)
    assert report.ready == ["mb05_120x120", "mb1_120x120"]
    assert report.problems == []
    assert fetch.ACADEMIC in report.notes
    assert printed == list(fetch.FILES)
    kept = {p.relative_to(cache / "3ddfa_v2/source").as_posix() for p in cache.rglob("source/**/*") if p.is_file()}
    assert kept == set(fetch.FILES)


def test_a_file_that_the_server_lacks(cache, source, checkout):
    (checkout / "weights/mb1_120x120.pth").unlink()
    report = fetch.fetch(source=source)
    assert report.ready == ["mb05_120x120"]
    (problem,) = report.problems
    assert "weights/mb1_120x120.pth: the server answered 404" in problem


def test_without_a_network_the_error_says_what_to_do(cache, checkout, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "download", offline)
    assert run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "files.invalid cannot be reached: on a machine with a network" in line
    assert "tddfa fetch 3ddfa_v2 --from" in line


def test_without_a_network_existing_files_are_used(cache, checkout, monkeypatch):
    run("--from", checkout)
    monkeypatch.setattr(fetch, "download", offline)
    assert run() == 0


def offline(*_, **__):
    raise download.OfflineError("files.invalid cannot be reached")


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, checkout, capsys):
    (tmp_path / "taken").write_bytes(b"")
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "taken"))
    assert run("--from", checkout) == 1
    assert "cannot be written" in capsys.readouterr().err


class TestUpstreamConfigs:
    """``-c CHECKOUT/configs/mb1_120x120.yml``."""

    TEXT = (
        "arch: mobilenet # MobileNet V1\nwiden_factor: 1.0\ncheckpoint_fp: weights/mb1_120x120.pth\n"
        "bfm_fp: configs/bfm_noneck_v3.pkl # or another\nsize: 120\nnum_params: 62\n"
    )

    @pytest.fixture
    def config(self, checkout):
        path = checkout / "configs/mb1_120x120.yml"
        path.write_text(self.TEXT)
        return path

    def test_it_is_converted_on_first_use(self, cache, config, rng, monkeypatch):
        image = rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)
        (face,) = Aligner.load(convert_config(config), device="cpu")(image, boxes=[[10, 10, 60, 70]])
        made = sorted(p.name.split("-")[0] for p in (cache / "converted").glob("*.*"))
        assert made == ["bfm_noneck_v3", "faceboxes", "mb1_120x120"]
        for name in ("convert_regressor", "convert_detector"):
            monkeypatch.setattr(fetch, name, lambda *_: pytest.fail("converted again"))
        (again,) = Aligner.load(convert_config(str(config)), device="cpu")(image, boxes=[[10, 10, 60, 70]])
        np.testing.assert_array_equal(face.landmarks, again.landmarks)

    def test_results_equal_those_of_the_fetched_config(self, cache, config, checkout, rng):
        run("--from", checkout)
        image = rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)
        faces = [
            Aligner.load(c, device="cpu")(image, boxes=[[10, 10, 60, 70]])[0]
            for c in (convert_config(config), "mb1_120x120")
        ]
        np.testing.assert_array_equal(faces[0].landmarks, faces[1].landmarks)

    @pytest.mark.parametrize("folder", ["cache", "a: 'b' #\\ \"ü\""])
    def test_the_commands_convert_it_by_themselves(self, config, folder, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / folder))
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
        options = ["image", "-f", str(tmp_path / "a.png"), "-c", str(config), "--out", str(tmp_path / "out")]
        assert main(options) in (0, 255)  # made-up weights detect anything
        assert "error" not in capsys.readouterr().err
        (converted,) = (tmp_path / folder / "converted").glob("*/*.yml")
        assert convert_config(config) == converted
        assert Config.load(converted).name == "mb1_120x120"
        assert Config.load(converted).crop == CROP

    def test_changed_weights_are_converted_again(self, cache, config, checkout, rng):
        Aligner.load(convert_config(config), device="cpu")
        shutil.copy(checkout / "weights/mb05_120x120.pth", checkout / "weights/mb1_120x120.pth")
        Aligner.load(convert_config(config), device="cpu")
        assert len(list((cache / "converted").glob("mb1_120x120-*.onnx"))) == 2

    def test_missing_files_are_taken_from_the_cache(self, cache, config, checkout):
        run("--from", checkout)
        (checkout / "configs/bfm_noneck_v3.pkl").unlink()
        Aligner.load(convert_config(config), device="cpu")
        assert not list((cache / "converted").glob("bfm*"))

    @pytest.mark.parametrize("file", ["configs/param_mean_std_62d_120x120.pkl", "configs/tri.pkl"])
    def test_a_file_that_is_there_is_not_replaced_by_a_fetched_one(self, cache, config, checkout, file):
        """Where a file that belongs to it is missing, the fetched one of these is taken, or there is an error."""
        run("--from", checkout)
        kept = cache / "3ddfa_v2" / "source" / file
        kept.parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).rename(kept)
        converted = Config.load(convert_config(config))
        assert converted.model.parent == converted.face_model.parent == cache / "converted"
        kept.unlink()
        with pytest.raises(ValueError, match=f"{Path(file).name}: no such file"):
            convert_config(config)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("arch: mobilenet", "arch: resnet"), "arch: expected mobilenet, got 'resnet'"),
            (("num_params: 62", "num_params: 102"), "num_params: expected 62, got 102"),
            (("size: 120", "size: 224"), "size: expected 120, got 224"),
            (("size: 120", "colour: 1"), "unknown key 'colour'"),
            (("size: 120\n", ""), "missing key 'size'"),
            (("weights/mb1_120x120.pth", "weights/none.pth"), "weights/none.pth: no such file; `tddfa fetch 3ddfa_v2`"),
            (("weights/mb1_120x120.pth", "[1]"), r"checkpoint_fp: expected a path, got \[1\]"),
            (("size: 120", "size: 120\nparam_mean_std_fp: 3"), "param_mean_std_fp: expected a path, got 3"),
            (("size: 120", "size: 120\nshape_dim: 199"), "shape_dim: expected 40, got 199"),
            (("weights/mb1_120x120.pth", "configs/tri.pkl"), r"tri\.pkl: not a file of tensors"),
        ],
    )
    def test_errors_are_one_line(self, cache, config, change, message, capsys, tmp_path):
        config.write_text(self.TEXT.replace(*change))
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
        assert main(["image", "-f", str(tmp_path / "a.png"), "-c", str(config), "--out", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert str(config) in line
        with pytest.raises(ValueError, match=message):
            convert_config(config)


@pytest.mark.upstream
class TestReleased:
    def test_released_files_and_configs(self, upstream, cache, capsys):
        assert run("--from", upstream, "--bfm", upstream / "bfm_standin.npz") == 1, "one of the two models"
        out, err = capsys.readouterr()
        assert "ready: -c mb05_120x120" in out
        assert "weights/mb1_120x120.pth: no such file" in err
        photo = cv2.imread(str(upstream / "examples/JianzhuGuo.jpg"))
        configs = ("mb05_120x120", convert_config(upstream / "configs/mb05_120x120.yml"))
        faces = [Aligner.load(config, device="cpu")(photo)[0] for config in configs]
        np.testing.assert_array_equal(faces[0].landmarks, faces[1].landmarks)
        with pytest.raises(ValueError, match=r"mb1_120x120\.pth: no such file"):
            convert_config(upstream / "configs/mb1_120x120.yml")
