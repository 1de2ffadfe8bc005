from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import build_settings, load_settings, read_mapping


@dataclass(frozen=True)
class Inner:
    RENAMED: ClassVar[dict[str, str]] = {"average": "ema_decay"}

    ema_decay: float = 0.5
    scale: tuple[float, float] = (1.0, 1.0)
    mixed: tuple[int, str] = (0, "")


@dataclass(frozen=True)
class Outer:
    folder: Path
    steps: int = 1
    name: str = ""
    flag: bool = False
    start: Path | None = None
    maps: tuple[int, ...] = ()
    parts: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: expected 1 or more, got {self.steps}")


def load(tmp_path, text, **options):
    path = tmp_path / "settings.yml"
    path.write_text(text, encoding="utf-8")
    return load_settings(Outer, path, **options)


def test_every_kind_of_field(tmp_path):
    text = """
folder: ../crops
steps: 3
name: x
flag: true
start: a/../b
maps: [1, 2]
parts: [{}, {ema_decay: 1}]
inner: {scale: [1, 2.5], mixed: [7, seven]}
"""
    assert load(tmp_path, text) == Outer(
        folder=tmp_path.parent / "crops", steps=3, name="x", flag=True, start=tmp_path / "b", maps=(1, 2),
        parts=(Inner(), Inner(1.0)), inner=Inner(scale=(1.0, 2.5), mixed=(7, "seven")),
    )  # fmt: skip
    assert load(tmp_path, "folder: .\nstart: null\n") == Outer(folder=tmp_path)


def test_the_dataclass_is_frozen(tmp_path):
    with pytest.raises(FrozenInstanceError):
        load(tmp_path, "folder: .").steps = 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 1", "missing key 'folder'"),
        ("folder: .\nepochs: 3", "unknown key 'epochs'; known keys are folder, steps"),
        ("folder: .\ninner: {rate: 3}", "inner: unknown key 'rate'; known keys are ema_decay, scale"),
        ("folder: .\nparts: [{rate: 3}]", "parts[0]: unknown key 'rate'"),
        ("folder: .\n7: 3", "unknown key 7"),
        ("folder: 7", "folder: expected a path, got 7"),
        ("folder: ''", "folder: expected a path, got ''"),
        ("folder: null", "folder: expected a path, got None"),
        ("folder: .\nsteps: 1.0", "steps: expected a whole number, got 1.0"),
        ("folder: .\nsteps: true", "steps: expected a whole number, got True"),
        ("folder: .\nflag: 1", "flag: expected true or false, got 1"),
        ("folder: .\nname: 1", "name: expected text, got 1"),
        ("folder: .\nstart: 1", "start: expected a path, got 1"),
        ("folder: .\ninner: 1", "inner: expected keys and values, got 1"),
        ("folder: .\ninner: {ema_decay: x}", "inner.ema_decay: expected a number, got 'x'"),
        ("folder: .\ninner: {scale: [1]}", "inner.scale: expected a list of 2, got [1]"),
        ("folder: .\ninner: {scale: [1, x]}", "inner.scale[1]: expected a number, got 'x'"),
        ("folder: .\ninner: {mixed: [1, 2]}", "inner.mixed[1]: expected text, got 2"),
        ("folder: .\nmaps: 1", "maps: expected a list, got 1"),
        ("folder: .\nsteps: 99999999999", "steps: expected a number of at most 2147483647, got 99999999999"),
        (
            "folder: .\ninner: {ema_decay: 1" + "0" * 400 + "}",
            "inner.ema_decay: expected a number of at most 2147483647",
        ),
        ("folder: !!int ''", "not a readable yml file: a value that does not fit its tag: "),
        ("folder: .\nsteps: 0", "steps: expected 1 or more, got 0"),
        ("- a", "expected keys and values, got ['a']"),
        ("", "expected keys and values, got None"),
        ("a: [", "not a readable yml file: "),
        ("!!python/object/apply:os.system [echo]", "not a readable yml file: "),
        ("[" * 20_000, "not a readable yml file: "),
        ("#" * 70_000, "not a readable yml file: expected at most 65536 bytes, got 70000"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'settings.yml'}: {message}")
    assert "\n" not in str(caught.value)


def test_an_old_key_gives_an_error_that_names_the_new_one(tmp_path):
    path = tmp_path / "settings.yml"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "folder: .\ncount: 3", renamed={"count": "steps"})
    assert str(caught.value) == f"{path}: key 'count' is now 'steps'"
    for text, key in (("inner: {average: 1}", "inner"), ("parts: [{}, {average: 1}]", "parts[1]")):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, f"folder: .\n{text}")
        assert str(caught.value) == f"{path}: {key}: key 'average' is now 'ema_decay'"


def test_fields_that_the_caller_sets_are_no_keys_of_the_file(tmp_path):
    path = tmp_path / "settings.yml"
    assert build_settings(Outer, {"folder": "."}, path, name="settings") == Outer(tmp_path, name="settings")
    with pytest.raises(ConfigError, match=r"unknown key 'name'; known keys are folder, steps, flag"):
        build_settings(Outer, {"folder": ".", "name": "x"}, path, name="settings")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yml: not a readable yml file"):
        read_mapping(tmp_path / "none.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="not a readable yml file"):
        read_mapping(tmp_path / "binary.yml")
