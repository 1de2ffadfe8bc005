import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from tddfa.model import assets
from tddfa.model.assets import (
    NOT_IN_WHEELS,
    REGISTRY,
    WEIGHTS_VARIABLE,
    AssetError,
    cache_folder,
    config_path,
    data_folder,
    located,
    verified,
)


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


class TestWeightsOfAWheel:
    NAME = NOT_IN_WHEELS[0]

    @pytest.fixture
    def wheel(self, tmp_path, monkeypatch):
        """The path of weights that an installed package does not have, as its config names it."""
        (tmp_path / "package/weights").mkdir(parents=True)
        (tmp_path / "package/configs").mkdir()
        monkeypatch.setattr(assets, "data_folder", lambda: tmp_path / "package")
        monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
        return tmp_path / "package/configs/.." / self.NAME

    def test_they_are_registered(self):
        assert set(NOT_IN_WHEELS) < set(REGISTRY)
        assert "weights/open_mb05.onnx" not in NOT_IN_WHEELS

    def test_a_missing_file_says_where_it_is(self, wheel):
        with pytest.raises(AssetError, match="no such file; a checkout has it: --weights CHECKOUT/weights, or TDDFA_W"):
            verified(wheel)

    def test_the_folder_of_the_variable_has_it(self, wheel, root, monkeypatch):
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(root / "weights"))
        assert verified(wheel) == located(wheel) == root / self.NAME

    def test_it_must_be_the_released_file_there_too(self, wheel, tmp_path, monkeypatch):
        (tmp_path / wheel.name).write_bytes(b"x")
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
        with pytest.raises(AssetError, match="not the released file"):
            verified(wheel)

    def test_a_file_of_the_package_comes_first(self, wheel, tmp_path, root, monkeypatch):
        (tmp_path / "package" / self.NAME).write_bytes(b"x")
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(root / "weights"))
        assert located(wheel) == wheel

    def test_other_folders_are_not_replaced(self, wheel, tmp_path, root, monkeypatch):
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(root / "weights"))
        with pytest.raises(AssetError, match=r"no such file$"):
            verified(tmp_path / wheel.name)


def test_configs_by_name_and_by_file(tmp_path):
    shipped = data_folder() / "configs/open_mb05.yml"
    assert config_path("open_mb05") == shipped
    assert config_path("configs/open_mb05.yml").samefile(shipped)
    (tmp_path / "mine.yml").write_text("")
    assert config_path(tmp_path / "mine.yml") == tmp_path / "mine.yml"
    with pytest.raises(AssetError, match=r"open_mb0: no such config; did you mean open_mb05\?; give a \.yml file"):
        config_path("open_mb0")
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
    names = r"open_mb05, open_mb05\+, jvcr_s, open_clean_mb05"
    message = rf"mb05_120x120: no such config; `tddfa fetch 3ddfa_v2` gets it; .*: {names}$"
    with pytest.raises(AssetError, match=message):
        config_path("mb05_120x120")
    fetched = tmp_path / "3ddfa_v2/mb05_120x120.yml"
    fetched.parent.mkdir()
    fetched.write_text("")
    assert config_path("mb05_120x120") == config_path("configs/mb05_120x120.yml") == fetched
    with pytest.raises(AssetError, match=r"one of: open_mb05, open_mb05\+, jvcr_s, open_clean_mb05, mb05_120x120$"):
        config_path("nobody")
    (fetched.with_name("open_mb05.yml")).write_text("")
    assert config_path("open_mb05") == data_folder() / "configs/open_mb05.yml"


def test_a_shipped_config_is_found_without_pooch():
    code = "import sys, tddfa.model.assets as assets; assets.config_path('open_mb05'); print('pooch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
