"""Binary glTF (GLB), written by trimesh: one node per face, with normals, and a texture or colours."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim3DR import vertex_normals
from tddfa._shared.packages import needs
from tddfa.export.frame import to_file_frame
from tddfa.export.png import encode_png
from tddfa.types import Mesh


def _linear_bytes(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    # Images are sRGB, glTF's vertex colours are linear light: unconverted they look washed out.
    colors = np.clip(colors, 0, 1)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    rgba = np.full((len(colors), 4), 255, np.uint8)
    rgba[:, :3] = np.rint(linear * 255)
    return rgba


def _unit_normals(mesh: Mesh) -> NDArray[np.float32]:
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    normals[:, 1] = -normals[:, 1]  # in the files' frame y is up
    # A vertex without a triangle has no normal, but the format requires unit length everywhere.
    normals[~normals.any(axis=1)] = (0, 0, 1)
    return normals


def _texture_image(texture: NDArray[np.uint8], pillow: Any) -> Any:
    """Wrap a texture for trimesh, with OpenCV's PNG encoder: Pillow's takes seven times as long."""
    image = pillow.fromarray(np.ascontiguousarray(texture[:, :, ::-1]))
    data = encode_png(texture)
    image.save = lambda file, **_: file.write(data)
    return image


def encode_glb(
    name: str,
    meshes: list[Mesh],
    textures: list[NDArray[np.uint8]] | None,
    image_height: float,
    *,
    metres_per_px: float = 0.001,
) -> dict[str, bytes]:
    """Encode a binary glTF file with one node per mesh (``face_1`` …).

    Positions are stored in px. Each node has the scale `metres_per_px`, so that a face of 200 px is 20 cm in a
    viewer. Colours are stored as linear light, as the format requires. A mesh with a texture gets no colours,
    because viewers would multiply the two.

    Parameters
    ----------
    name : str
        File name.
    meshes : list of Mesh
        Image px; at least one, each with triangles.
    textures : list of ndarray (h, w, 3) uint8, or None
        BGR, one per mesh; the top row is at v = 1. The meshes need uv.
    image_height : float
        px; the files' y is ``image_height - y``.
    metres_per_px : float
        Scale of the nodes.

    Returns
    -------
    dict of str to bytes
        The one file.

    Raises
    ------
    ImportError
        If trimesh is not installed.
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
    try:
        trimesh: Any = importlib.import_module("trimesh")
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError(needs("glb", "trimesh")) from error

    scene = trimesh.Scene()
    for index, mesh in enumerate(meshes):
        face = f"face_{index + 1}"
        # The default material is metal. Double-sided, because the open surface is seen from behind too.
        material = trimesh.visual.material.PBRMaterial(
            name=face, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
        )
        visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
        if textures is not None:
            material.baseColorTexture = _texture_image(textures[index], pillow)
        elif mesh.colors is not None:
            visual.vertex_attributes["color"] = _linear_bytes(mesh.colors)
        vertices = to_file_frame(mesh.vertices, image_height)
        geometry = trimesh.Trimesh(vertices, mesh.triangles, visual=visual, process=False)
        geometry.vertex_normals = _unit_normals(mesh)
        scale = np.diag([metres_per_px, metres_per_px, metres_per_px, 1.0])
        scene.add_geometry(geometry, node_name=face, geom_name=face, transform=scale)
    data: bytes = scene.export(file_type="glb", include_normals=True)
    return {name: data}
