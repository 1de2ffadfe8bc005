import hashlib
import os
import shutil

import pytest

from tddfa.model import assets
from tddfa.model.assets import REGISTRY, AssetError, cache_folder, config_path, data_folder, verified


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_shipped_files_have_the_registered_hashes(name):
    path = data_folder() / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == REGISTRY[name]
    assert verified(path) == path


def test_every_shipped_binary_is_registered(root):
    binaries = {p.relative_to(root).as_posix() for f in ("configs", "weights") for p in (root / f).iterdir()}
    assert {name for name in binaries if name.endswith((".npz", ".onnx"))} == set(REGISTRY)


def test_a_changed_file_is_refused_with_expected_and_actual(tmp_path, monkeypatch):
    name = "weights/open_mb05.onnx"
    (tmp_path / "weights").mkdir()
    copy = tmp_path / name
    shutil.copy(data_folder() / name, copy)
    monkeypatch.setattr(assets, "data_folder", lambda: tmp_path)
    assert verified(copy) == copy
    data = bytearray(copy.read_bytes())
    data[1000] ^= 1
    copy.write_bytes(data)
    os.utime(copy, ns=(1, 1))
    with pytest.raises(AssetError) as caught:
        verified(copy)
    for part in (str(copy), REGISTRY[name], hashlib.sha256(data).hexdigest()):
        assert part in str(caught.value)


def test_other_files_are_not_hashed_but_must_exist(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"x")
    assert verified(tmp_path / "mine.onnx") == tmp_path / "mine.onnx"
    with pytest.raises(AssetError, match=r"other\.onnx: no such file"):
        verified(tmp_path / "other.onnx")


def test_configs_by_name_and_by_file(tmp_path):
    shipped = data_folder() / "configs/open_mb05.yml"
    assert config_path("open_mb05") == shipped
    assert config_path("configs/open_mb05.yml").samefile(shipped)
    (tmp_path / "mine.yml").write_text("")
    assert config_path(tmp_path / "mine.yml") == tmp_path / "mine.yml"
    with pytest.raises(AssetError, match=r"nobody: no such config; .*open_mb05"):
        config_path("nobody")


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TDDFA_CACHE", raising=False)
    assert cache_folder().name == "tddfa"
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("TDDFA_CACHE", "~/somewhere")
    assert cache_folder().is_absolute()


def test_fetched_configs_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path))
    message = r"mb05_120x120: no such config; `tddfa fetch 3ddfa_v2` gets it; .*: open_mb05, open_mb05\+, jvcr_s$"
    with pytest.raises(AssetError, match=message):
        config_path("mb05_120x120")
    fetched = tmp_path / "3ddfa_v2/mb05_120x120.yml"
    fetched.parent.mkdir()
    fetched.write_text("")
    assert config_path("mb05_120x120") == config_path("configs/mb05_120x120.yml") == fetched
    with pytest.raises(AssetError, match=r"one of: open_mb05, open_mb05\+, jvcr_s, mb05_120x120$"):
        config_path("nobody")
    (fetched.with_name("open_mb05.yml")).write_text("")
    assert config_path("open_mb05") == data_folder() / "configs/open_mb05.yml"
