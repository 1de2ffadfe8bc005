"""How kinds of 3D files are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tddfa import export
from tddfa.outputs.prepared import Prepared
from tddfa.surface.texture import vertex_colors
from tddfa.synthetic.head import mended
from tddfa.types import Mesh


def _colored(outputs: Prepared) -> list[Mesh]:
    """The meshes, with the colours of the image where the options ask for them."""
    if not outputs.options.vertex_colors:
        return outputs.meshes
    pairs = zip(outputs.meshes, outputs.textures, strict=True)
    return [
        replace(mesh, colors=vertex_colors(outputs.image, mesh, texture, others=outputs.meshes))
        for mesh, texture in pairs
    ]


def _placed(outputs: Prepared) -> tuple[list[Mesh], float, str]:
    """The meshes where the options want them, the height of the image, and the unit."""
    meshes = _colored(outputs)
    if outputs.options.space != "head":
        return meshes, float(outputs.image.shape[0]), "px"
    return export.upright(meshes, outputs.faces, outputs.aligner.decoder), 0.0, "cm"


def save_ply(outputs: Prepared, path: Path) -> list[Path]:
    """Write the meshes to a .ply."""
    meshes, height, unit = _placed(outputs)
    return export.save(path, meshes, image_height=height, unit=unit, ascii=outputs.options.ascii)


def save_obj(outputs: Prepared, path: Path) -> list[Path]:
    """Write the meshes to an .obj, with its .mtl and textures."""
    textures = [texture.image for texture in outputs.textures]
    stem = path.stem if outputs.options.kind_in_mesh_names else f"{path.stem}_obj"
    meshes, height, unit = _placed(outputs)
    return export.save(
        path, meshes, textures=textures, image_height=height, unit=unit,
        vertex_colors=outputs.options.vertex_colors, image_stem=stem,
    )  # fmt: skip


def save_glb(outputs: Prepared, path: Path) -> list[Path]:
    """Write the heads to a .glb that can be animated."""
    rigs = export.rigs(
        outputs.faces, outputs.aligner.decoder,
        space=outputs.options.space or "head", image_height=outputs.image.shape[0],
    )  # fmt: skip
    if outputs.options.vertex_colors:
        colored = [replace(rig, colors=mesh.colors) for rig, mesh in zip(rigs, _colored(outputs), strict=True)]
        return export.save(path, colored)
    model = outputs.aligner.face_model
    # a head that moves shows closed lids and the whites of the eyes, which the photo does not
    moves = model.arkit_table is not None
    textures = [mended(texture, model) if moves else texture.image for texture in outputs.textures]
    return export.save(path, rigs, textures=textures)
