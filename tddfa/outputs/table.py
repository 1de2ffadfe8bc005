"""`KINDS`: the table of all kinds of output."""

from __future__ import annotations

from tddfa import draw
from tddfa.outputs import images, meshes
from tddfa.outputs.kinds import ExtraFile, ImageKind, Kind, MeshKind

_ROWS: tuple[Kind, ...] = (
    ImageKind(
        name="2d_sparse",
        help="the 68 landmarks; hidden ones are rings",
        make=lambda o: draw.landmarks(o.image, o.faces_with_visibility),
    ),
    ImageKind(
        name="2d_dense",
        takes="mesh",
        help="the vertices of the mesh, as dots: near is red, far is blue",
        make=lambda o: draw.points(o.image, o.meshes),
    ),
    ImageKind(
        name="3d",
        takes="mesh",
        help="the shaded mesh",
        make=lambda o: draw.mesh(
            o.image, o.drawn_meshes, alpha=o.options.alpha, background=o.options.background, style=o.options.style
        ),
        options=("alpha", "background", "transparent", "style", "ears"),
    ),
    ImageKind(
        name="depth",
        takes="mesh",
        help="depth: near is white",
        make=lambda o: draw.depth(o.image, o.drawn_meshes, background=o.options.background),
        options=("background", "transparent", "ears", "raw_depth"),
        extra_files=(
            ExtraFile(
                ending=lambda options: {"png": "_raw.png", "npy": ".npy"}.get(options.raw_depth or ""),
                write=images.save_depth,
            ),
        ),
    ),
    ImageKind(
        name="pncc",
        takes="mesh",
        help="projected normalised coordinate code: a colour for each point of the head",
        make=lambda o: draw.pncc(
            o.image, o.drawn_meshes, o.aligner.face_model.normalized_coordinates, background=o.options.background
        ),
        options=("background", "transparent", "ears"),
    ),
    ImageKind(
        name="pose",
        help="head pose as a box or axes, with its angles",
        make=lambda o: draw.pose(o.image, o.faces, style=o.options.pose_style, names=o.names),
        options=("pose_style",),
        summary=images.summarise_pose,
    ),
    ImageKind(
        name="uv_tex",
        takes="mesh",
        help="the texture as a UV map",
        make=lambda o: draw.textures(o.textures),
        over_image=False,
        options=("uv_size", "uv_mask"),
        extra_files=(
            ExtraFile(ending=lambda options: "_mask.png" if options.uv_mask else None, write=images.save_masks),
        ),
    ),
    ImageKind(
        name="6dof",
        takes="mesh",
        help="head pose before a perspective camera: surface, axes, projected box and distance",
        make=images.draw_6dof,
        options=("alpha", "background", "transparent", "intrinsics"),
        summary=images.summarise_6dof,
    ),
    ImageKind(
        name="volume",
        help="the volumes of voxels that JVCR predicts, over the crop, and its points from three sides",
        make=images.draw_volumes,
        over_image=False,
        takes="volumes",
    ),
    ImageKind(
        name="box",
        help="the box, the score and five points of each face",
        make=images.draw_boxes,
        summary=images.summarise_boxes,
    ),
    MeshKind(
        name="ply",
        takes="mesh",
        help="the mesh, binary or text",
        make=meshes.save_ply,
        suffix=".ply",
        options=("space", "ascii", "vertex_colors", "uv_size"),
    ),
    MeshKind(
        name="obj",
        takes="mesh",
        help="the mesh with .mtl and texture",
        make=meshes.save_obj,
        suffix=".obj",
        side_files=(r"(_obj)?\.mtl", r"_obj(_\d+)?\.png"),
        options=("space", "vertex_colors", "uv_size"),
    ),
    MeshKind(
        name="glb",
        takes="mesh",
        help="the head with its texture, ARKit's blendshapes and its pose, for the web and for animation",
        make=meshes.save_glb,
        suffix=".glb",
        options=("space", "vertex_colors", "uv_size"),
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ROWS}
"""All kinds of output, in the order of the help. To add one, add a row."""


def image_kinds() -> dict[str, ImageKind]:
    """Return the kinds that are drawn, in order; those of a video and of a window.

    Examples
    --------
    >>> from tddfa.outputs import image_kinds
    >>> list(image_kinds())[:3]
    ['2d_sparse', '2d_dense', '3d']
    """
    return {name: kind for name, kind in KINDS.items() if isinstance(kind, ImageKind)}
