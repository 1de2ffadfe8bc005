"""Text files that come with photos: settings, boxes, points, cameras."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import scipy.io

from builders_fuzz import is_taken, mutated, texts, written
from tddfa._shared.errors import ConfigError, FormatError
from tddfa._shared.reading.text import parse_json
from tddfa._shared.settings import load_settings
from tddfa.datasets.boxes import read_lines, read_voc, read_wider
from tddfa.datasets.files import read_mat
from tddfa.datasets.pts import read_pts
from tddfa.detector.box_file import BoxFile
from tddfa.geometry import calibration
from tddfa.model.assets import config_files
from tddfa.model.config import Config

pytestmark = pytest.mark.fuzz

IMAGE = np.zeros((8, 8, 3), np.uint8)

YAML = (
    "!!int x", "!!float .", "!!timestamp 2020-99-99", "!!binary é", "!!set {a}", "!!omap [a]", "!!pairs [a]",
    "!!null x", "!!python/object:os.system", "!!bool maybe", "&a", "*a", "<<:", "? [a]", "- ", "{", "}", "[" * 500,
    "{a: " * 300, "|\n  x", "---\n", "...\n", "%TAG ! !!\n", "'", '"\\ud800"', ".inf", ".nan", "1:2:3", "0b2",
    "2020-02-31", "~", "''", "on", "a: a: a", "base:", "open_mb05", "detector:", "kind: boxes", "!!opencv-matrix",
    "data:", "rows:", "!<x>", "\t",
)  # fmt: skip
JSON = (
    "{", "}", "[", "]", "[" * 100_000, '{"a":' * 100_000, "NaN", "-Infinity", "1e400", "null", "true", '"\\ud800"',
    '""', '{"data": []}', "[[]]", "[[1, 2], [3]]", '"data"', ",", ":", "-0", "1E+2",
)  # fmt: skip


def test_settings(tmp_path, explored):
    seeds = [path.read_text(encoding="utf-8") for path in config_files()[:3]]
    seeds.append("base: open_mb05\nrefine: 0\ncrop: {size: 120, box_shift_y: 0, box_scale: 1, landmark_scale: 1.2}\n")
    assert Config.load(written(tmp_path / "c.yml", seeds[-1].encode())).refine == 0

    def check(data):
        path = written(tmp_path / "c.yml", data)
        return is_taken(lambda: Config.load(path), ConfigError, "c.yml")

    explored(texts(seeds, YAML), check)


@pytest.mark.parametrize("suffix", [".json", ".txt"])
def test_boxes(tmp_path, explored, suffix):
    boxes = "1 2 30 40\n5 6 70 80\n"
    seeds = {
        ".json": ['{"me.jpg": [ [1, 2, 30, 40] , [5, 6, 70, 80] ], "you.jpg": []}', '{"me.jpg": [[1, 2, 3, 4, 0.5]]}'],
        ".txt": [boxes, "# a comment\n1 , 2 , 30 , 40 , 0.5\n"],
    }[suffix]

    def check(data):
        path = written(tmp_path / f"b{suffix}", data)
        return is_taken(lambda: BoxFile(path)(IMAGE, "me.jpg"), ConfigError, path.name)

    assert all(check(seed.encode()) for seed in seeds)
    explored(texts(seeds, JSON if suffix == ".json" else ("#", ",", "1e38", "3.5e38", "1e300", "x")), check)


def test_points(tmp_path, explored):
    lines = "\n".join(f"{k + 1} {2 * k + 1}" for k in range(68))
    seed = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n"

    def check(data):
        path = written(tmp_path / "p.pts", data)
        return is_taken(lambda: read_pts(path), ValueError, "p.pts")

    assert check(seed.encode())
    explored(texts([seed], ("{", "}", "n_points: 5", "version:", "1e308", "-1e308")), check)


def opencv(name, rows, columns, numbers):
    listed = ", ".join(map(str, numbers))
    return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {listed} ]\n"


@pytest.mark.parametrize("suffix", [".json", ".yml"])
def test_cameras(tmp_path, explored, suffix):
    matrix = [800.0, 0.0, 320.0, 0.0, 800.0, 240.0, 0.0, 0.0, 1.0]
    content = {"camera_matrix": np.reshape(matrix, (3, 3)).tolist(), "dist": [0.1, 0.0, 0.0, 0.0]}
    sizes = {"image_width": 640, "image_height": 480}
    seeds = {
        ".json": [json.dumps({**content, **sizes}, indent=1), json.dumps(content)],
        ".yml": [
            "%YAML:1.0\n---\nimage_width: 640\nimage_height: 480\n"
            + opencv("camera_matrix", 3, 3, matrix) + opencv("distortion_coefficients", 5, 1, [0.1, 0, 0, 0, 0]),
            "camera_matrix: [ [ 800, 0, 320 ], [ 0, 800, 240 ], [ 0, 0, 1 ] ]\n",
        ],
    }[suffix]  # fmt: skip

    def check(data):
        path = written(tmp_path / f"k{suffix}", data)
        return is_taken(lambda: calibration.read(path, (480, 640)), ValueError, path.name)

    assert all(check(seed.encode()) for seed in seeds)
    explored(texts(seeds, JSON if suffix == ".json" else YAML), check)


@pytest.mark.parametrize("kind", ["lines", "voc", "wider"])
def test_labelled_boxes(tmp_path, explored, kind):
    box = "<xmin> 1 </xmin><ymin> 2 </ymin><xmax> 30 </xmax><ymax> 40 </ymax>"
    seed = {
        "lines": "1 2 30 40\n5 6 70 80 0.5 face\n",
        "voc": f"<annotation><object><difficult> 0 </difficult><bndbox>{box}</bndbox></object></annotation>",
        "wider": "a/b.jpg\n1\n1 2 30 40 0 0 0 0 0 0 \na/c.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n",
    }[kind]
    read = {
        "lines": read_lines,
        "voc": lambda path: read_voc(path, tmp_path / "a.jpg"),
        "wider": lambda path: list(read_wider(path, tmp_path)),
    }[kind]

    def check(data):
        path = written(tmp_path / f"{kind}.txt", data)
        return is_taken(lambda: read(path), ValueError, path.name)

    assert check(seed.encode())
    words = ("<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "<xmin>", "</object>", "<a>" * 3000, "../x.jpg", "1e308")
    explored(texts([seed], words), check)


def mat(content):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content)
    return buffer.getvalue()


def test_labels_of_matlab(tmp_path, explored):
    seeds = [mat({"pt3d_68": np.zeros((3, 68)), "Pose_Para": np.ones((1, 7))}), mat({"pt3d_68": np.ones((3, 68), int)})]

    def check(data):
        path = written(tmp_path / "l.mat", data)
        return is_taken(lambda: read_mat(path, {"pt3d_68": (3, 68)}), ValueError, "l.mat")

    assert all(check(seed) for seed in seeds)
    words = (b"MATLAB 5.0", b"\x0e\0\0\0", b"\x0f\0\0\0", b"\x09\0\0\0", b"pt3d_68", b"IM", b"MI", b"\xff" * 4)
    explored(mutated(seeds, words), check)


def test_settings_of_trainings(tmp_path, explored):
    pytest.importorskip("torch")
    from tddfa.train.regressor.settings import RegressorSettings

    folder = config_files()[0].parent / "train"
    seeds = [(folder / name).read_text(encoding="utf-8") for name in ("open_mb05.yml", "turned_faces.yml")]

    def check(data):
        path = written(tmp_path / "t.yml", data)
        return is_taken(lambda: load_settings(RegressorSettings, path), ConfigError, "t.yml")

    assert all(check(seed.encode()) for seed in seeds)
    explored(texts(seeds, YAML), check)


def test_lists_of_jvcr(tmp_path, explored):
    pytest.importorskip("torch")
    from tddfa.train.jvcr.lists import listed_samples

    rows = [[k, 2 * k, 0.5] for k in range(68)]
    seed = json.dumps([{"img_paths": "none.jpg", "landmarks": rows, "isValidation": 1.0}])

    def check(data):
        path = written(tmp_path / "j.json", data)
        try:
            return is_taken(lambda: list(listed_samples(path, tmp_path, "x")), FormatError, "j.json")
        except FileNotFoundError as error:
            assert "no such photo" in str(error) and "j.json" in str(error)
            return True

    assert check(seed.encode())
    explored(texts([seed], JSON), check)


def test_json(explored):
    def check(data):
        return is_taken(lambda: parse_json(data.decode("utf-8", "replace")), ValueError)

    assert check(b'{"a": [1, 2.5, null]}')
    explored(texts(['{"a": [ 1, 2.5, null ], "b": { "c": "d" }}'], JSON), check)
