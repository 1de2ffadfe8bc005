"""Binary glTF (GLB): a node per face, with normals, a texture or colours, and for a rig with morph targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.export.frame import to_file_frame, unit_normals
from tddfa.export.gltf import INDICES, VERTICES, Gltf
from tddfa.export.png import encode_png
from tddfa.export.rig import METRES_PER_PX, MorphTargets, Rig
from tddfa.geometry.rotation import quaternion_from_rotation
from tddfa.types import Mesh

# A larger texture is written as JPEG: as PNG it would be larger than the face.
_MAX_PNG_SIDE = 512
_JPEG_QUALITY = 93


def _linear_bytes(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    # Images are sRGB, glTF's vertex colours are linear light: unconverted they look washed out.
    colors = np.clip(colors, 0, 1)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    rgba = np.full((len(colors), 4), 255, np.uint8)
    rgba[:, :3] = np.rint(linear * 255)
    return rgba


def encode_glb(
    name: str,
    meshes: Sequence[Mesh | Rig],
    textures: list[NDArray[np.uint8]] | None,
    image_height: float,
    *,
    metres_per_px: float = METRES_PER_PX,
) -> dict[str, bytes]:
    """Encode a binary glTF file with one node per mesh or rig (``face_1`` …).

    Positions of a mesh are stored in px, with the scale `metres_per_px` in its node. Those of a rig are stored in
    metres, upright, with the head pose in its node and the blendshapes as morph targets, whose names are in
    ``extras.targetNames``. Colours are stored as linear light, as the format requires. A mesh with a texture gets no
    colours, because viewers would multiply the two. Textures are PNG up to 512 px, larger ones JPEG.

    Parameters
    ----------
    name : str
        File name.
    meshes : sequence of Mesh or Rig
        At least one, each with triangles; meshes in image px.
    textures : list of ndarray (h, w, 3) uint8, or None
        BGR, one per mesh; the top row is at v = 1. The meshes need uv.
    image_height : float
        px; a mesh's y becomes ``image_height - y``.
    metres_per_px : float
        Scale of the nodes of meshes.

    Returns
    -------
    dict of str to bytes
        The one file.

    Raises
    ------
    ValueError
        If there is no mesh, or one has no triangles: the format has no empty meshes.
    """
    if not meshes:
        raise ValueError("meshes: expected at least one, because a glb file cannot be empty; got none")
    for index, mesh in enumerate(meshes):
        if not len(mesh.triangles):
            raise ValueError(f"meshes[{index}]: expected triangles, because glb has no empty meshes; got none")
    if not (math.isfinite(metres_per_px) and metres_per_px > 0):
        raise ValueError(f"metres_per_px: expected a finite number over 0, got {metres_per_px}")
    gltf = Gltf()
    scene = gltf.add("scenes", {"nodes": []})
    gltf.tree["scene"] = scene
    shared: dict[MorphTargets, list[dict[str, int]]] = {}
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    for index, mesh in enumerate(meshes):
        face = f"face_{index + 1}"
        material = _add_material(gltf, face, None if textures is None else textures[index])
        if isinstance(mesh, Rig):
            if mesh.targets not in shared:  # heads of one face model have them in common
                shared[mesh.targets] = _add_targets(gltf, mesh)
            node = _rig_node(gltf, face, mesh, material, shared[mesh.targets], colored=textures is None)
        else:
            node = _mesh_node(gltf, face, mesh, material, image_height, colored=textures is None)
            node["scale"] = [metres_per_px] * 3
        gltf.tree["scenes"][scene]["nodes"].append(gltf.add("nodes", node))
        if isinstance(mesh, Rig) and mesh.motion is not None:
            _add_motion(gltf, mesh, len(gltf.tree["nodes"]) - 1, channels, samplers)
    if channels:
        gltf.add("animations", {"name": "take", "channels": channels, "samplers": samplers})
    return {name: gltf.encode()}


def encode_surface(name: str, mesh: Mesh, translation: ArrayLike = (0, 0, 0)) -> bytes:
    """Encode a surface that is no face of an image, such as a scan: its frame and its unit are kept.

    Parameters
    ----------
    name : str
        Name of its node.
    mesh : Mesh
        With triangles; y is up.
    translation : array_like (3,)
        Translation of the node: positions are float32, so that those far from the origin would be rounded.
    """
    gltf = Gltf()
    node = _surface_node(gltf, name, mesh, _add_material(gltf, name, None))
    node["translation"] = np.asarray(translation, dtype=np.float64).tolist()
    gltf.tree["scene"] = gltf.add("scenes", {"nodes": [gltf.add("nodes", node)]})
    return gltf.encode()


def _add_material(gltf: Gltf, name: str, texture: NDArray[np.uint8] | None) -> int:
    # The default material is metal. Double-sided, because the open surface is seen from behind too.
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if texture is not None:
        if max(texture.shape) <= _MAX_PNG_SIDE:
            data, kind = encode_png(texture), "image/png"
        else:
            data, kind = _encode_jpeg(texture), "image/jpeg"
        image = gltf.add("images", {"bufferView": gltf.view(data), "mimeType": kind, "name": name})
        surface["baseColorTexture"] = {"index": gltf.add("textures", {"source": image})}
    return gltf.add("materials", {"name": name, "pbrMetallicRoughness": surface, "doubleSided": True})


def _encode_jpeg(texture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(texture), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ValueError(f"textures: an image of shape {texture.shape} cannot be encoded as JPEG")
    return data.tobytes()


def _from_top(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    # glTF counts v from the top
    return np.column_stack([uv[:, 0], 1 - uv[:, 1]])


def _add_triangles(gltf: Gltf, mesh: Mesh | Rig) -> int:
    kind = np.uint16 if len(mesh.vertices) < 1 << 16 else np.uint32
    return gltf.accessor(mesh.triangles.astype(kind).reshape(-1), target=INDICES)


def _mesh_node(
    gltf: Gltf, name: str, mesh: Mesh, material: int, image_height: float, *, colored: bool
) -> dict[str, Any]:
    placed = replace(mesh, vertices=to_file_frame(mesh.vertices, image_height), colors=mesh.colors if colored else None)
    return _surface_node(gltf, name, placed, material)


def _surface_node(gltf: Gltf, name: str, mesh: Mesh, material: int) -> dict[str, Any]:
    attributes = {
        "POSITION": gltf.accessor(mesh.vertices, target=VERTICES, bounds=True),
        "NORMAL": gltf.accessor(unit_normals(mesh.vertices, mesh.triangles), target=VERTICES),
    }
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = gltf.accessor(_from_top(mesh.uv), target=VERTICES)
    if mesh.colors is not None:
        attributes["COLOR_0"] = gltf.accessor(_linear_bytes(mesh.colors), target=VERTICES, normalized=True)
    primitive = {"attributes": attributes, "indices": _add_triangles(gltf, mesh), "material": material}
    return {"name": name, "mesh": gltf.add("meshes", {"name": name, "primitives": [primitive]})}


def _add_targets(gltf: Gltf, rig: Rig) -> list[dict[str, int]]:
    targets = rig.targets
    return [
        {"POSITION": gltf.sparse(len(rig.vertices), index, steps, bounds)}
        for index, steps, bounds in zip(targets.indices, targets.steps, targets.bounds, strict=True)
    ]


def _rig_node(
    gltf: Gltf, name: str, rig: Rig, material: int, targets: list[dict[str, int]], *, colored: bool
) -> dict[str, Any]:
    gltf.use("KHR_mesh_quantization")
    normals = np.rint(unit_normals(rig.vertices, rig.triangles) * 127).astype(np.int8)
    attributes = {
        "POSITION": gltf.accessor(rig.vertices, target=VERTICES, bounds=True),
        "NORMAL": gltf.accessor(normals, target=VERTICES, normalized=True),
    }
    if rig.uv is not None:
        # float32: trimesh reads normalised integers as they are
        attributes["TEXCOORD_0"] = gltf.accessor(_from_top(rig.uv), target=VERTICES)
    if colored and rig.colors is not None:
        attributes["COLOR_0"] = gltf.accessor(_linear_bytes(rig.colors), target=VERTICES, normalized=True)
    primitive: dict[str, Any] = {
        "attributes": attributes, "indices": _add_triangles(gltf, rig), "material": material,
    }  # fmt: skip
    mesh: dict[str, Any] = {"name": name, "primitives": [primitive]}
    if targets:
        primitive["targets"] = targets
        mesh |= {"weights": rig.weights.tolist(), "extras": {"targetNames": list(rig.targets.names)}}
    return {
        "name": name,
        "mesh": gltf.add("meshes", mesh),
        "rotation": np.roll(quaternion_from_rotation(rig.rotation), -1).tolist(),
        "translation": rig.translation.tolist(),
        "scale": [rig.scale] * 3,
    }


def _add_motion(
    gltf: Gltf, rig: Rig, node: int, channels: list[dict[str, Any]], samplers: list[dict[str, Any]]
) -> None:
    motion = rig.motion
    assert motion is not None
    keys = gltf.accessor(motion.times, bounds=True)
    shown = gltf.accessor(np.array([time for time, _ in motion.shown], dtype=np.float32), bounds=True)
    sizes = np.array([[rig.scale * on] * 3 for _, on in motion.shown], dtype=np.float32)
    rows = [
        ("rotation", keys, motion.rotations, "LINEAR"),
        ("translation", keys, motion.translations, "LINEAR"),
        ("scale", shown, sizes, "STEP"),
    ]
    if rig.targets.names:
        rows.append(("weights", keys, motion.weights.reshape(-1), "LINEAR"))
    for path, times, values, kind in rows:
        samplers.append({"input": times, "output": gltf.accessor(values), "interpolation": kind})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
