from dataclasses import replace
from pathlib import Path

import pytest

from tddfa.model.config import BoxFileConfig, Config, ConfigError, CropRule, FaceBoxesConfig, YuNetConfig

GOOD = """
model: ../weights/a.onnx
face_model: face.npz
crop: {size: 120, box_shift_y: 0.1, box_scale: 1.1, landmark_scale: 1.25}
detector: {model: ../weights/d.onnx}
"""


def load(tmp_path, text):
    path = tmp_path / "configs" / "mine.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return Config.load(path)


def test_paths_are_relative_to_the_file(tmp_path):
    config = load(tmp_path, GOOD)
    assert config.name == "mine"
    assert config.model == tmp_path / "weights/a.onnx"
    assert config.face_model == tmp_path / "configs/face.npz"
    assert config.crop == CropRule(120, 0.1, 1.1, 1.25)
    assert config.min_score is None
    assert config.detector.score == 0.5


class TestPrecision:
    BOTH = GOOD.replace("a.onnx", "a.onnx\nmodel_int8: ../weights/a8.onnx").replace(
        "d.onnx", "d.onnx, model_int8: ../weights/d8.onnx"
    )

    def test_only_the_networks_are_replaced(self, tmp_path):
        config = load(tmp_path, self.BOTH)
        eight = config.with_precision("int8")
        assert (eight.model.name, eight.detector.model.name) == ("a8.onnx", "d8.onnx")
        assert (eight.crop, eight.face_model) == (config.crop, config.face_model)
        assert config.with_precision("float") is config
        assert config.model.name == "a.onnx"

    def test_a_detector_without_an_int8_network_stays(self, tmp_path):
        text = self.BOTH.replace(", model_int8: ../weights/d8.onnx", "")
        assert load(tmp_path, text).with_precision("int8").detector.model.name == "d.onnx"

    def test_a_model_without_an_int8_network_gives_an_error(self, tmp_path):
        with pytest.raises(ConfigError, match=r"mine: this model has no int8 network .*model_int8"):
            load(tmp_path, GOOD).with_precision("int8")

    def test_an_unknown_precision_gives_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="precision: expected one of float, int8, auto, got 'half'"):
            load(tmp_path, GOOD).with_precision("half")

    def test_the_shipped_model_has_both(self, root):
        config = Config.load(root / "configs/open_mb05.yml").with_precision("int8")
        assert config.model.is_file()
        assert config.detector.model.is_file()


def test_a_rounded_crop(tmp_path):
    assert load(tmp_path, GOOD.replace("size: 120", "size: 120, rounded: true")).crop.rounded
    assert not load(tmp_path, GOOD).crop.rounded


def test_the_shipped_config(root):
    config = Config.load(root / "configs/open_mb05.yml")
    assert config.model.is_file()
    assert config.face_model.is_file()
    assert config.detector.model.is_file()
    assert (config.crop.box_shift_y, config.crop.box_scale, config.min_score) == (0.0, 1.1, 0.5)
    assert (config.refine, config.flip) == (1, True)
    assert (config.rotations, config.sure_score) == ("auto", 0.95)
    assert (config.detector.max_area, config.detector.small_area, config.detector.tiles) == (777_600, 24_576, "auto")


def test_one_pass_by_default(tmp_path):
    assert (load(tmp_path, GOOD).refine, load(tmp_path, GOOD).flip) == (0, False)
    detector = load(tmp_path, GOOD).detector
    assert (detector.max_area, detector.small_area, detector.tiles) == (None, None, "off")
    more = load(tmp_path, GOOD + "refine: 2\nflip: true\n")
    assert (more.refine, more.flip) == (2, True)


def test_rotations_are_words(tmp_path):
    assert (load(tmp_path, GOOD).rotations, load(tmp_path, GOOD).sure_score) == ("off", None)
    for word in ("auto", "all", "off"):  # YAML reads an unquoted off as a boolean
        assert load(tmp_path, f"{GOOD}rotations: {word}\n").rotations == word
    with pytest.raises(ConfigError, match="rotations: expected one of auto, all, off, got 90"):
        load(tmp_path, f"{GOOD}rotations: 90\n")


@pytest.mark.parametrize("word", ["auto", "off", '"off"'])
def test_tiles_are_words(tmp_path, word):
    """YAML reads an unquoted off as a boolean."""
    config = load(tmp_path, GOOD.replace("d.onnx}", f"d.onnx, tiles: {word}}}"))
    assert config.detector.tiles == word.strip('"')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("d.onnx}", "d.onnx, tiles: on}"), "detector.tiles: expected one of auto, off, got True"),
        (("d.onnx}", "d.onnx, tiles: 3}"), "detector.tiles: expected one of auto, off, got 3"),
        (("d.onnx}", "d.onnx, small_area: much}"), "detector.small_area: expected a whole number, got 'much'"),
        (("model:", "modle:"), "unknown key 'modle'; known keys are model"),
        (("size: 120, ", ""), "crop: missing key 'size'"),
        (("size: 120", "size: 12.5"), "crop.size: expected a whole number, got 12.5"),
        (("size: 120", "size: true"), "crop.size: expected a whole number"),
        (("size: 120", "size: 0"), r"crop\.size: expected 1\.\.4096 px, got 0"),
        (("size: 120", "size: 120, rounded: 1"), "crop.rounded: expected true or false, got 1"),
        (("box_scale: 1.1", "box_scale: wide"), "crop.box_scale: expected a number, got 'wide'"),
        (("box_scale: 1.1", "box_scale: -1"), "crop.box_scale: expected a number over 0"),
        (("box_scale: 1.1", "box_scale: .nan"), "crop.box_scale: expected a number over 0"),
        (("face_model: face.npz", "face_model: 7"), "face_model: expected a path, got 7"),
        (("detector: {", "detector: {colour: red, "), "detector: unknown key 'colour'"),
        (("detector: {model: ../weights/d.onnx}", "detector: 5"), "detector: expected keys and values"),
        (("detector: {model: ../weights/d.onnx}", "detector: d.onnx"), "detector: d.onnx: no such config"),
        (
            ("detector: {", "detector: {kind: dlib, "),
            "detector.kind: expected one of faceboxes, yunet, boxes, got 'dlib'",
        ),
        (("detector: {", "detector: {kind: 3, "), "detector.kind: expected one of faceboxes, yunet, boxes, got 3"),
        (("detector: {", "detector: {kind: yunet, max_width: 9, "), "detector: unknown key 'max_width'"),
        (("detector: {model: ../weights/d.onnx}", "detector: {kind: boxes}"), "detector: missing key 'boxes'"),
        ((GOOD, "base: open_mb06"), "base: open_mb06: no such config"),
        ((GOOD, "base: [open_mb05]"), r"base: expected the name of a config, got \['open_mb05'\]"),
        ((GOOD, f"base: {'a' * 5000}"), "base: expected the name of a config, got 'aaa"),
        ((GOOD, 'base: "a\\nb"'), "base: expected the name of a config, got "),
        ((GOOD, f"base: {'a' * 300}.yml"), "base: .*File name too long"),
        ((GOOD, "base: mine.yml"), "base: expected another config, got mine.yml, which is based on this one"),
        ((GOOD, "base: open_mb05\nrefin: 1"), "unknown key 'refin'; known keys are model"),
        (("crop: {", "crop: {{"), "not a readable yml file"),
        ((GOOD, "- a\n- b\n"), r"expected keys and values, got \['a', 'b'\]"),
        ((GOOD, "!!python/object/apply:os.system [echo]"), "not a readable yml file"),
        ((GOOD, GOOD + "name: x"), "unknown key 'name'"),
        ((GOOD, "base: open_mb05\nrefine: 0\nrefine: 1"), "key 'refine' occurs twice.*line 3"),
        ((GOOD, "base: open_mb05\ndetector: {iou: 0.1, iou: 0.2}"), "key 'iou' occurs twice"),
        ((GOOD, GOOD + "refine: -1"), r"refine: expected 0\.\.10, got -1"),
        ((GOOD, GOOD + "min_score: 5"), r"min_score: expected 0\.\.1, got 5"),
        ((GOOD, GOOD + "sure_score: -1"), r"sure_score: expected 0\.\.1, got -1"),
        ((GOOD, "base: open_mb05\ndetector: {score: 5}"), r"detector\.score: expected 0\.\.1, got 5"),
        ((GOOD, "base: open_mb05\ndetector: {iou: -1}"), r"detector\.iou: expected .*, got -1"),
        ((GOOD, "base: open_mb05\ndetector: {max_area: 0}"), r"detector\.max_area: expected 1 or more, got 0"),
        (
            (GOOD, "base: open_mb05\ndetector: {max_area: 100, min_area: 200}"),
            r"detector\.min_area: expected at most the largest area, 100, got 200",
        ),
        ((GOOD, GOOD + "refine: 1.5"), "refine: expected a whole number, got 1.5"),
        ((GOOD, GOOD + "mirrored: true"), "key 'mirrored' is now 'flip'"),
        ((GOOD, GOOD + "flip: 1"), "flip: expected true or false, got 1"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, GOOD.replace(*change))
    assert str(tmp_path / "configs/mine.yml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_huge_and_binary_files(tmp_path):
    with pytest.raises(ConfigError, match="not a readable yml file"):
        Config.load(tmp_path / "none.yml")
    with pytest.raises(ConfigError, match="at most 65536 bytes"):
        load(tmp_path, GOOD + "#" * 70000)
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="not a readable yml file"):
        Config.load(tmp_path / "binary.yml")


def test_aliases_of_aliases_and_deep_nesting_are_refused(tmp_path):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
    with pytest.raises(ConfigError):
        load(tmp_path, bomb)
    with pytest.raises(ConfigError, match="face_model: expected a path"):
        load(tmp_path, GOOD.replace("face_model: face.npz", f"face_model: {'[' * 50}{']' * 50}"))
    with pytest.raises(ConfigError, match="not a readable yml file"):
        load(tmp_path, "[" * 20000)


def test_a_config_of_3ddfa_v2_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"mine\.yml: a config of 3DDFA_V2: .*tddfa\.compat\.convert_config\('.*mine"):
        load(tmp_path, "arch: mobilenet\ncheckpoint_fp: weights/a.pth\n")
    assert not (tmp_path / "cache").exists()


class TestDetectors:
    @pytest.mark.parametrize(
        ("section", "expected"),
        [
            ("{kind: faceboxes, model: d.onnx, score: 0.3}", FaceBoxesConfig(Path("d.onnx"), score=0.3)),
            ("{kind: yunet, model: y.onnx, tiles: auto}", YuNetConfig(Path("y.onnx"), tiles="auto")),
            ("{kind: boxes, boxes: b.json}", BoxFileConfig(Path("b.json"))),
        ],
    )
    def test_the_kind_chooses(self, tmp_path, section, expected):
        detector = load(tmp_path, GOOD.replace("{model: ../weights/d.onnx}", section)).detector
        assert type(detector) is type(expected)
        assert detector.file == tmp_path / "configs" / expected.file
        changed = "boxes" if isinstance(expected, BoxFileConfig) else "model"
        assert replace(detector, **{changed: expected.file}) == expected

    def test_the_detector_of_another_config(self, tmp_path, root):
        config = load(tmp_path, GOOD.replace("{model: ../weights/d.onnx}", "open_mb05"))
        assert config.detector == Config.load(root / "configs/open_mb05.yml").detector
        assert config.model == tmp_path / "weights/a.onnx"

    def test_int8_of_a_detector_without(self, tmp_path, root):
        config = load(tmp_path, "base: open_mb05\ndetector: {kind: boxes, boxes: b.txt}").with_precision("int8")
        assert config.detector == BoxFileConfig(tmp_path / "configs/b.txt")
        assert config.model.name == "open_mb05_int8.onnx"


class TestBase:
    def test_other_keys_are_those_of_the_base(self, tmp_path, root):
        base = Config.load(root / "configs/open_mb05.yml")
        assert load(tmp_path, "base: open_mb05\nmin_score: 0.5") == replace(base, name="mine", min_score=0.5)
        assert load(tmp_path, "base: open_mb05\nmin_score: null").min_score is None

    def test_another_network_does_not_take_the_int8_network_of_the_base(self, tmp_path):
        assert load(tmp_path, "base: open_mb05").with_precision("int8").model.name == "open_mb05_int8.onnx"
        with pytest.raises(ConfigError, match="mine: this model has no int8 network"):
            load(tmp_path, "base: open_mb05\nmodel: mine.onnx").with_precision("int8")
        own = "base: open_mb05\nmodel: mine.onnx\nmodel_int8: mine_int8.onnx"
        assert load(tmp_path, own).with_precision("int8").model.name == "mine_int8.onnx"

    def test_other_keys_of_a_section_are_those_of_the_base(self, tmp_path, root):
        base = Config.load(root / "configs/open_mb05.yml")
        config = load(tmp_path, "base: open_mb05\ndetector: {score: 0.7}\ncrop: {box_scale: 1.3}")
        assert config.detector == replace(base.detector, score=0.7)
        assert config.crop == replace(base.crop, box_scale=1.3)

    def test_a_detector_with_a_network_takes_nothing_from_the_base(self, tmp_path):
        config = load(tmp_path, "base: open_mb05\ndetector: {model: d.onnx}")
        assert config.detector == FaceBoxesConfig(tmp_path / "configs/d.onnx")

    def test_a_detector_of_another_kind_takes_nothing_from_the_base(self, tmp_path):
        config = load(tmp_path, "base: open_mb05\ndetector: {kind: yunet, model: y.onnx}")
        assert config.detector == YuNetConfig(tmp_path / "configs/y.onnx")
        (tmp_path / "configs/other.yml").write_text("base: mine.yml\ndetector: {score: 0.7}")
        assert Config.load(tmp_path / "configs/other.yml").detector == replace(config.detector, score=0.7)
        (tmp_path / "configs/other.yml").write_text("base: mine.yml\ndetector: {model: d.onnx}")
        assert Config.load(tmp_path / "configs/other.yml").detector == FaceBoxesConfig(tmp_path / "configs/d.onnx")

    def test_a_file_beside_it(self, tmp_path):
        load(tmp_path, GOOD)
        (tmp_path / "configs/other.yml").write_text("base: mine.yml\nrefine: 3")
        config = Config.load(tmp_path / "configs/other.yml")
        assert (config.name, config.refine, config.model) == ("other", 3, tmp_path / "weights/a.onnx")

    def test_a_circle_of_files(self, tmp_path):
        load(tmp_path, GOOD)
        (tmp_path / "configs/other.yml").write_text("base: mine.yml")
        (tmp_path / "configs/mine.yml").write_text("base: other.yml")
        with pytest.raises(ConfigError, match=r"other.yml: base: expected another config, got mine.yml"):
            Config.load(tmp_path / "configs/mine.yml")
