"""Blender imports the files. It is GPL, so it has an environment of its own and is started as a separate program."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tddfa.avatar import Performer, open_take
from tddfa.model.arkit import ARKIT_NAMES
from tddfa.video import Frame

pytestmark = pytest.mark.slow

REPORT = """
import json
import sys

import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=sys.argv[1])
scene = bpy.context.scene
meshes = []
for item in bpy.data.objects:
    if item.type == "MESH":
        keys = item.data.shape_keys.key_blocks
        poses = []
        for time in json.loads(sys.argv[2]):
            frame = time * scene.render.fps
            scene.frame_set(int(frame), subframe=frame - int(frame))
            poses.append({
                "weights": {key.name: key.value for key in keys[1:]},
                "rotation": list(item.rotation_quaternion),
                "scale": list(item.scale),
            })  # fmt: skip
        jaw, basis = keys["jawOpen"].data, keys[0].data
        nodes = [node for material in item.data.materials for node in material.node_tree.nodes]
        meshes.append({
            "name": item.name,
            "triangles": len(item.data.polygons),
            "shapes": [key.name for key in keys],
            "jaw": max((a.co - b.co).length for a, b in zip(jaw, basis, strict=True)),
            "height": max(v.co.z for v in item.data.vertices) - min(v.co.z for v in item.data.vertices),
            "images": [list(node.image.size) for node in nodes if node.type == "TEX_IMAGE"],
            "poses": poses,
        })  # fmt: skip
print("REPORT" + json.dumps(meshes))
"""
VERSION = "5.0.1"


@pytest.fixture(scope="module")
def blender(root):
    """A Python that has bpy: that of TDDFA_BLENDER, or of an environment that is made on first use."""
    if os.environ.get("TDDFA_BLENDER"):
        return os.environ["TDDFA_BLENDER"]
    folder = root / ".venv/blender"
    python = folder / "bin/python"
    if not (folder / "done").is_file():
        base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
        if base is None:
            pytest.skip(f"needs Python 3.11 for bpy {VERSION}, or TDDFA_BLENDER, a Python that has bpy")
        subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True, timeout=300)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"bpy=={VERSION}"]
        if subprocess.run(command, check=False, timeout=1200, capture_output=True).returncode:
            pytest.skip(f"needs bpy {VERSION}, which pip could not install; or TDDFA_BLENDER, a Python that has bpy")
        (folder / "done").touch()
    return str(python)


def test_blender_imports_mesh_texture_shapes_and_animation(blender, decoder, face_with, tmp_path):
    times, jaws, yaws = [0.0, 0.25, 0.5], [0.0, 0.8, 0.2], [0, 30, -20]
    path = tmp_path / "take.glb"
    with open_take(path, Performer(decoder, "none")) as take:
        for index, (time, jaw, yaw) in enumerate(zip(times, jaws, yaws, strict=True)):
            faces = [face_with(0, (yaw, 0, 0), jawOpen=jaw), *([face_with(1)] if index else [])]
            take.add(Frame(np.full((400, 400, 3), 90, np.uint8), index, time), faces)
    done = subprocess.run(
        [blender, "-c", REPORT, str(path), json.dumps(times)],
        capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert "REPORT" in done.stdout, done.stdout + done.stderr
    first, second = sorted(json.loads(done.stdout.partition("REPORT")[2]), key=lambda mesh: mesh["name"])
    assert (first["name"], second["name"]) == ("face_1", "face_2")
    assert first["triangles"] == len(decoder.face_model.triangles)
    assert first["shapes"] == ["Basis", *ARKIT_NAMES]
    assert first["images"] == [[512, 512]]
    # m; Blender's z is up, and it drops vertices without a triangle
    used = decoder.face_model.mean[np.unique(decoder.face_model.triangles)]
    assert first["height"] == pytest.approx(np.ptp(used[:, 1]) / 100, abs=1e-4)
    model = decoder.face_model
    jaw_moves = model.basis[model.shape_count + model.expression_names.index("jawOpen")]
    assert first["jaw"] == pytest.approx(np.linalg.norm(jaw_moves, axis=-1).max() / 100, abs=1e-4)
    for pose, jaw, yaw in zip(first["poses"], jaws, yaws, strict=True):
        assert pose["weights"]["jawOpen"] == pytest.approx(jaw, abs=0.01)
        # w, x, y, z; a turn to the left is about Blender's z
        half = np.radians(yaw) / 2
        np.testing.assert_allclose(np.abs(pose["rotation"]), np.abs([np.cos(half), 0, 0, np.sin(half)]), atol=0.01)
    assert [pose["scale"][0] for pose in second["poses"]] == pytest.approx([0, 1, 1])
