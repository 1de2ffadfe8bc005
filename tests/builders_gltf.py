"""Reading GLB files in tests, and checking them by Khronos' validator."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tddfa.export.gltf import Gltf

ROOT = Path(__file__).resolve().parents[1]
DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}

PACKAGES = {"gltf-validator": "2.0.0-dev.3.10", "three": "0.187.0"}
"""Packages of npm that tests run, and their versions."""

VALIDATE = """
const fs = require('fs');
const validator = require('gltf-validator');
Promise.all(process.argv.slice(1).map(path => validator.validateBytes(new Uint8Array(fs.readFileSync(path)))))
  .then(reports => console.log(JSON.stringify(reports)));
"""


def accessor(gltf: Gltf, index: int) -> np.ndarray:
    """The numbers of an accessor as the specification defines them: strides, normalized integers, sparse ones."""
    described = gltf.tree["accessors"][index]
    dtype, width, count = np.dtype(DTYPES[described["componentType"]]), WIDTHS[described["type"]], described["count"]

    def read(view, dtype, width, count):
        view = gltf.tree["bufferViews"][view]
        stride = view.get("byteStride", dtype.itemsize * width)
        data = np.frombuffer(gltf.blob, np.uint8, view["byteLength"], view["byteOffset"])
        rows = np.lib.stride_tricks.as_strided(data, (count, dtype.itemsize * width), (stride, 1))
        return np.ascontiguousarray(rows).view(dtype)

    values = read(described["bufferView"], dtype, width, count) if "bufferView" in described else None
    values = np.zeros((count, width), dtype) if values is None else values.copy()
    if "sparse" in described:
        sparse = described["sparse"]
        kind = np.dtype(DTYPES[sparse["indices"]["componentType"]])
        where = read(sparse["indices"]["bufferView"], kind, 1, sparse["count"])
        values[where[:, 0]] = read(sparse["values"]["bufferView"], dtype, width, sparse["count"])
    if "min" in described:
        np.testing.assert_array_equal(values.min(axis=0), described["min"])
        np.testing.assert_array_equal(values.max(axis=0), described["max"])
    if described.get("normalized"):
        return np.maximum(values / np.iinfo(dtype).max, -1)
    return values.astype(float)


def posed(gltf: Gltf, node: dict, weights=None) -> np.ndarray:
    """Vertices of the mesh of a node as a viewer shows them."""
    mesh = gltf.tree["meshes"][node["mesh"]]
    (primitive,) = mesh["primitives"]
    vertices = accessor(gltf, primitive["attributes"]["POSITION"])
    for weight, target in zip(mesh["weights"] if weights is None else weights, primitive["targets"], strict=True):
        if weight:
            vertices = vertices + weight * accessor(gltf, target["POSITION"])
    return node["scale"] * vertices @ rotation_of(node["rotation"]).T + node["translation"]


def rotation_of(quaternion) -> np.ndarray:
    """Matrix of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def node_package(name: str) -> Path:
    """The folder ``node_modules`` with a package of npm, which is installed on first use; skips where it cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(f"needs node and npm for {name}: apt install nodejs npm")
    folder = ROOT / ".venv/npm"
    if not (folder / "node_modules" / name / "package.json").is_file():
        packages = [f"{package}@{version}" for package, version in PACKAGES.items()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as new:
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", new, *packages]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"needs {name}, which npm could not install: npm install {' '.join(packages)}")
            # another process of this run may have been faster
            with contextlib.suppress(OSError):
                (Path(new) / "node_modules").rename(folder / "node_modules")
    return folder / "node_modules"


def problems(*paths: Path) -> list[list[str]]:
    """What Khronos' validator reports of each file: errors and warnings."""
    modules = node_package("gltf-validator")
    done = subprocess.run(
        ["node", "-e", VALIDATE, *map(str, paths)],
        env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    found = []
    for report in json.loads(done.stdout):
        assert report["info"]["version"] == "2.0"
        serious = [issue for issue in report["issues"]["messages"] if issue["severity"] < 2]
        assert len(serious) == report["issues"]["numErrors"] + report["issues"]["numWarnings"]
        found.append([f"{issue['code']} {issue['pointer']}" for issue in serious])
    assert len(found) == len(paths)
    return found


if __name__ == "__main__":
    for package in PACKAGES:
        print(node_package(package) / package)
