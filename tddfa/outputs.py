"""Outputs of the faces of one image: drawings, mesh files and numbers. `KINDS` is the table of all kinds."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa import draw, export
from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.aligner import Aligner
from tddfa.crop import crop_image
from tddfa.draw import six_dof as draw_6dof
from tddfa.face_crops.aligned import five_points
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.rotation import Euler
from tddfa.geometry.six_dof import SixDof
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.surface.texture import Texture, unwrap, vertex_colors
from tddfa.synthetic.head import mended
from tddfa.types import SCHEMA, Face, Mesh

__all__ = [
    "DEPTH_STEPS_PER_PX", "KINDS", "ExtraFile", "ImageKind", "Kind", "MeshKind", "Options", "Outputs",
    "image_kinds",
]  # fmt: skip

Image = NDArray[np.uint8]

_ALPHA_6DOF = 0.85

DEPTH_STEPS_PER_PX = 16
"""Resolution of depth in a 16-bit PNG: steps of 1/16 px; 0 marks pixels without a face."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the outputs. Which of them has an effect on which kind: `Kind.options`.

    Attributes
    ----------
    suffix : str
        Format of the images: ".jpg", ".png" or another that OpenCV writes.
    background : {"image", "black"}
        What a surface is drawn over.
    alpha : float or None
        Opacity of a drawn surface, 0..1. None takes 0.6 for 3d (1 over black), and 0.85 for 6dof.
    style : {"paper", "classic"}
        How the surface of 3d is drawn (`tddfa.draw.mesh`).
    ears : bool
        Draw the ears of surfaces.
    pose_style : {"box", "axes"}
        How the pose is drawn.
    uv_size : int
        Side of the UV texture, px.
    uv_mask : bool
        Also write which pixels of the texture were visible, mirrored or filled.
    raw_depth : {"png", "npy"} or None
        Also write depth as numbers: a 16-bit PNG (`DEPTH_STEPS_PER_PX` steps per px from the farthest point, plus 1;
        0 where there is no face) or float32 px (NaN where there is no face).
    ascii : bool
        Write .ply as text.
    vertex_colors : bool
        Give the vertices of meshes the colours of the image; in .glb in place of the texture.
    space : {"image", "head"} or None
        Where meshes lie: as in the image, or upright at the head's centre, in cm. None is "head" for .glb, whose
        unit is metres, and "image" for the others.
    kind_in_mesh_names : bool
        Name meshes as 3DDFA_V2 does: ``me_obj.obj`` instead of ``me.obj``.
    intrinsics : Intrinsics or None
        The camera, for 6dof and the JSON. None assumes the one of img2pose (`Intrinsics.assumed`).

    Examples
    --------
    >>> from tddfa.outputs import Options
    >>> Options(background="black").uv_size
    512
    """

    suffix: str = ".jpg"
    background: Literal["image", "black"] = "image"
    alpha: float | None = None
    style: draw.Style = "paper"
    ears: bool = True
    pose_style: Literal["box", "axes"] = "box"
    uv_size: int = 512
    uv_mask: bool = False
    raw_depth: Literal["png", "npy"] | None = None
    ascii: bool = False
    vertex_colors: bool = False
    space: Literal["image", "head"] | None = None
    kind_in_mesh_names: bool = False
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of output: a row of `KINDS`. Everything that depends on the kind is here.

    Attributes
    ----------
    name : str
        As in ``-o`` and in file names.
    help : str
        What it shows or holds: a lower-case fragment.
    options : tuple of str
        The fields of `Options` that have an effect, besides `Options.suffix`.
    needs : tuple of str
        The modules of optional packages (`tddfa._shared.packages.REQUIREMENTS`).
    summary : function, optional
        `Outputs` -> a line of text per face, to be printed.
    takes : {"landmarks", "mesh", "volumes"}
        What a face must have: its landmarks alone; a mesh, which `tddfa.jvcr` does not predict; the volumes of
        `tddfa.jvcr`.
    """

    name: str
    help: str
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    summary: Callable[[Outputs], list[str]] | None = None
    takes: Literal["landmarks", "mesh", "volumes"] = "landmarks"

    def missing(self, aligner: Aligner) -> str | None:
        """Tell in one line why the faces of an aligner do not have what this kind takes; None if they have it.

        Examples
        --------
        >>> from tddfa.outputs import KINDS
        >>> KINDS["volume"].missing(aligner)
        '-o volume: expected a model that predicts volumes (jvcr_s), got one that predicts a mesh'
        """
        if self.takes == "mesh" and not aligner.decoder.has_mesh:
            return f"-o {self.name}: expected a model with a mesh, got one of 68 points; --fit-mesh fits a mesh to them"
        if self.takes == "volumes" and not isinstance(aligner.regressor, JvcrRegressor):
            return f"-o {self.name}: expected a model that predicts volumes (jvcr_s), got one that predicts a mesh"
        return None

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        raise NotImplementedError

    def save(self, outputs: Outputs, stem: Path) -> list[Path]:
        """Write the files; return their paths, the main one first."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ExtraFile:
    """A file beside an image, written when an option asks for it.

    Attributes
    ----------
    ending : function
        `Options` -> what follows ``<stem>_<kind>`` in its name; None if the options do not ask for the file.
    write : function
        Writes it to a path.
    """

    ending: Callable[[Options], str | None]
    write: Callable[[Outputs, Path], object]


@dataclass(frozen=True, kw_only=True)
class ImageKind(Kind):
    """A kind that is drawn: an image, or each frame of a video.

    Attributes
    ----------
    make : function
        `Outputs` -> BGR image.
    over_image : bool
        Whether it is drawn over the image, and has the size of the image.
    extra_files : tuple of ExtraFile
        Files beside the image.

    Examples
    --------
    >>> from tddfa.outputs import ImageKind, Outputs
    >>> negative = ImageKind(name="negative", help="the negative of the image", make=lambda o: 255 - o.image)
    >>> [path.name for path in negative.save(Outputs(image, [], aligner), tmp / "me")]
    ['me_negative.jpg']
    """

    make: Callable[[Outputs], Image]
    over_image: bool = True
    extra_files: tuple[ExtraFile, ...] = ()

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        extra = (file.ending(options) for file in self.extra_files)
        return [re.escape(f"_{self.name}{end}") for end in (options.suffix, *extra) if end is not None]

    def save(self, outputs: Outputs, stem: Path) -> list[Path]:
        """Write the image, and the files beside it that the options ask for; return their paths."""
        base = f"{stem.name}_{self.name}"
        paths = [image_io.write(stem.with_name(base + outputs.options.suffix), self.make(outputs))]
        for file in self.extra_files:
            ending = file.ending(outputs.options)
            if ending is not None:
                paths.append(stem.with_name(base + ending))
                file.write(outputs, paths[-1])
        return paths


@dataclass(frozen=True, kw_only=True)
class MeshKind(Kind):
    """A kind that is a 3D file.

    Attributes
    ----------
    make : function
        Writes the file to a path, and others beside it; gives all paths, the main one first.
    suffix : str
        Of the main file.
    side_files : tuple of str
        Endings of the names of the files beside it: regular expressions. Those of images begin with ``_<kind>``, so
        that they neither replace photos nor the images of other kinds.
    """

    make: Callable[[Outputs, Path], list[Path]]
    suffix: str
    side_files: tuple[str, ...] = ()

    def endings(self, options: Options) -> list[str]:
        """Endings of the names of all files that `save` may write after the stem, as regular expressions."""
        kind = re.escape(f"_{self.name}") if options.kind_in_mesh_names else ""
        return [kind + re.escape(self.suffix), *self.side_files]

    def save(self, outputs: Outputs, stem: Path) -> list[Path]:
        """Write the files; return their paths, the main one first."""
        kind = f"_{self.name}" if outputs.options.kind_in_mesh_names else ""
        return self.make(outputs, stem.with_name(f"{stem.name}{kind}{self.suffix}"))


@dataclass(frozen=True)
class Outputs:
    """The faces of one image, ready to be drawn and saved. What several kinds need is computed once.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    faces : sequence of Face
        In px of the image.
    aligner : Aligner
        The one that made the faces.
    options : Options
        Settings of the outputs.

    Examples
    --------
    >>> from tddfa.outputs import Options, Outputs
    >>> outputs = Outputs(image, [face], aligner, Options(suffix=".png"))
    >>> outputs.draw("3d").shape == image.shape
    True
    >>> [path.name for path in outputs.save("2d_sparse", tmp / "me")]
    ['me_2d_sparse.png']
    """

    image: Image
    faces: Sequence[Face]
    aligner: Aligner
    options: Options = field(default_factory=Options)

    @cached_property
    def meshes(self) -> list[Mesh]:
        """A dense mesh per face."""
        return [self.aligner.decoder.mesh(face) for face in self.faces]

    @cached_property
    def drawn_meshes(self) -> list[Mesh]:
        """The meshes, with their ears or without."""
        return self.meshes if self.options.ears else [self.aligner.decoder.without_ears(mesh) for mesh in self.meshes]

    @cached_property
    def faces_with_visibility(self) -> list[Face]:
        """The faces, with `Face.visible`, computed where an aligner did not (``visibility=True``)."""
        if not self.aligner.decoder.has_mesh or all(face.visible is not None for face in self.faces):
            return list(self.faces)
        decoder = self.aligner.decoder
        return [
            face if face.visible is not None else replace(face, visible=decoder.visible(face, mesh))
            for face, mesh in zip(self.faces, self.meshes, strict=True)
        ]

    @cached_property
    def detections(self) -> Detections:
        """Boxes and scores of the faces, and five points: the detector's, or else those of the landmarks."""
        points = [five_points(face) if face.detected_points is None else face.detected_points for face in self.faces]
        return Detections(
            np.reshape([face.box for face in self.faces], (-1, 4)),
            np.array([face.score for face in self.faces], dtype=np.float32),
            np.reshape(np.array(points, dtype=np.float32), (-1, 5, 2)),
        )

    @cached_property
    def textures(self) -> list[Texture]:
        """A UV texture per face."""
        return [unwrap(self.image, mesh, size=self.options.uv_size) for mesh in self.meshes]

    @cached_property
    def poses(self) -> list[SixDof | None]:
        """Pose of each head in the camera frame; None where no pose before this camera fits."""
        return [_pose(face, self.aligner, self._intrinsics) for face in self.faces]

    @property
    def _intrinsics(self) -> Intrinsics:
        return self.options.intrinsics or Intrinsics.assumed(self.image.shape[:2])

    def draw(self, kind: str) -> Image:
        """Draw a kind of `image_kinds`.

        Returns
        -------
        ndarray (h, w, 3) uint8
            BGR. It has the size of the image, except for ``uv_tex``.

        Raises
        ------
        ValueError
            If the kind is unknown or not drawn.
        """
        drawn = image_kinds()
        if kind not in drawn:
            raise ValueError(f"kind: expected one of {', '.join(drawn)}, got {kind!r}")
        return drawn[kind].make(self)

    def save(self, kind: str, stem: Path) -> list[Path]:
        """Write a kind of `KINDS`: an image to ``<stem>_<kind>`` and its suffix, a mesh to ``<stem>.<kind>``.

        Returns
        -------
        list of Path
            The files, the main one first.

        Raises
        ------
        ValueError
            If the kind is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        return KINDS[kind].save(self, stem)

    def save_json(self, stem: Path, name: str) -> Path:
        """Write the numbers of all faces to ``<stem>.json``; `name` is that of the image file."""
        height, width = self.image.shape[:2]
        content = {
            "schema": SCHEMA,
            "image": name,
            "width": width,
            "height": height,
            "precision": self.aligner.precision,
            "faces": [
                face.to_dict(self.aligner.decoder, self.options.intrinsics, pose=pose)
                for face, pose in zip(self.faces_with_visibility, self.poses, strict=True)
            ],
        }
        text = json.dumps(content, indent=1, allow_nan=False)
        return write_atomic(stem.with_name(f"{stem.name}.json"), text.encode())

    def save_landmarks(self, stem: Path) -> list[Path]:
        """Write 68 lines ``x,y,z`` in px for each face, to ``<stem>_landmarks_<face>.csv``; faces count from 0."""
        return [
            write_atomic(stem.with_name(f"{stem.name}_landmarks_{index}.csv"), _csv_lines(face.landmarks).encode())
            for index, face in enumerate(self.faces)
        ]


def _csv_lines(points: NDArray[np.float32]) -> str:
    return "".join(f"{x:.3f},{y:.3f},{z:.3f}\n" for x, y, z in points.tolist())


def _pose(face: Face, aligner: Aligner, intrinsics: Intrinsics) -> SixDof | None:
    if not aligner.decoder.has_mesh:
        return None
    try:
        return aligner.decoder.six_dof(face, intrinsics)
    except ValueError:
        # a very wide lens: the face would be nearer to the camera than its own size
        return None


def _save_depth(outputs: Outputs, path: Path) -> None:
    """Write depth as numbers: float32 px to .npy, 16-bit steps to .png."""
    depth = draw.depth_px(outputs.image, outputs.drawn_meshes)
    if path.suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, depth, allow_pickle=False)
        write_atomic(path, buffer.getvalue())
        return
    steps = (depth - np.nanmin(depth)) * DEPTH_STEPS_PER_PX + 1 if np.isfinite(depth).any() else depth
    levels = np.where(np.isfinite(depth), np.clip(np.rint(steps), 1, 65535), 0).astype(np.uint16)
    image_io.write(path, levels)


def _save_masks(outputs: Outputs, path: Path) -> None:
    image_io.write(path, np.hstack([texture.mask for texture in outputs.textures]))


def _colored(outputs: Outputs) -> list[Mesh]:
    """The meshes, with the colours of the image where the options ask for them."""
    if not outputs.options.vertex_colors:
        return outputs.meshes
    pairs = zip(outputs.meshes, outputs.textures, strict=True)
    return [replace(mesh, colors=vertex_colors(outputs.image, mesh, texture)) for mesh, texture in pairs]


def _placed(outputs: Outputs) -> tuple[list[Mesh], float, str]:
    """The meshes where the options want them, the height of the image, and the unit."""
    meshes = _colored(outputs)
    if outputs.options.space != "head":
        return meshes, float(outputs.image.shape[0]), "px"
    decoder = outputs.aligner.decoder
    pairs = zip(meshes, outputs.faces, strict=True)
    return [export.upright(mesh, face, decoder) for mesh, face in pairs], 0.0, "cm"


def _save_ply(outputs: Outputs, path: Path) -> list[Path]:
    meshes, height, unit = _placed(outputs)
    return export.save(path, meshes, image_height=height, unit=unit, ascii=outputs.options.ascii)


def _save_obj(outputs: Outputs, path: Path) -> list[Path]:
    textures = [texture.image for texture in outputs.textures]
    stem = path.stem if outputs.options.kind_in_mesh_names else f"{path.stem}_obj"
    meshes, height, unit = _placed(outputs)
    return export.save(
        path, meshes, textures=textures, image_height=height, unit=unit,
        vertex_colors=outputs.options.vertex_colors, image_stem=stem,
    )  # fmt: skip


def _save_glb(outputs: Outputs, path: Path) -> list[Path]:
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


def _draw_6dof(outputs: Outputs) -> Image:
    return draw_6dof.six_dof(
        outputs.image,
        outputs.faces,
        outputs.meshes,
        outputs.poses,
        unit=outputs.aligner.face_model.unit,
        assumed=outputs.options.intrinsics is None,
        alpha=_ALPHA_6DOF if outputs.options.alpha is None else outputs.options.alpha,
        background=outputs.options.background,
    )


def _draw_volumes(outputs: Outputs) -> Image:
    regressor, rule = outputs.aligner.regressor, outputs.aligner.crop
    if not isinstance(regressor, JvcrRegressor):
        raise ValueError(KINDS["volume"].missing(outputs.aligner))
    sheets = []
    for face in outputs.faces:
        crop = np.empty((1, rule.size, rule.size, 3), dtype=np.uint8)
        crop_image(outputs.image, face.roi, crop[0], rounded=rule.rounded)
        volumes, points = regressor.volumes(crop)
        sheets.append(draw.volumes(crop[0], [volume[0] for volume in volumes], points[0]))
    if not sheets:
        raise ValueError("faces: expected one at least, got none")
    return np.vstack(sheets)


def _draw_boxes(outputs: Outputs) -> Image:
    labels = [
        f"{face.score:.2f}" if face.track_id is None else f"{face.track_id}:  {face.score:.2f}"
        for face in outputs.faces
    ]
    return draw.boxes(outputs.image, outputs.detections, labels=labels)


def _summarise_boxes(outputs: Outputs) -> list[str]:
    return [
        f"{' '.join(f'{edge:.0f}' for edge in box)}, score {score:.2f}"
        for box, score in zip(outputs.detections.xyxy, outputs.detections.scores, strict=True)
    ]


def _angles_text(euler: Euler) -> str:
    yaw, pitch, roll = euler
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}"


def _summarise_pose(outputs: Outputs) -> list[str]:
    return [_angles_text(face.camera.euler_degrees()) for face in outputs.faces]


def _summarise_6dof(outputs: Outputs) -> list[str]:
    about = "~" if outputs.options.intrinsics is None else ""
    unit = outputs.aligner.face_model.unit
    return [
        "no pose before this camera fits the face"
        if pose is None
        else f"{about}{draw_6dof.format_distance(pose.distance, unit)}, {_angles_text(pose.euler_degrees())}"
        for pose in outputs.poses
    ]


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
        options=("alpha", "background", "style", "ears"),
    ),
    ImageKind(
        name="depth",
        takes="mesh",
        help="depth: near is white",
        make=lambda o: draw.depth(o.image, o.drawn_meshes, background=o.options.background),
        options=("background", "ears", "raw_depth"),
        extra_files=(
            ExtraFile(
                ending=lambda options: {"png": "_raw.png", "npy": ".npy"}.get(options.raw_depth or ""),
                write=_save_depth,
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
        options=("background", "ears"),
    ),
    ImageKind(
        name="pose",
        help="head pose as a box or axes, with its angles",
        make=lambda o: draw.pose(o.image, o.faces, style=o.options.pose_style),
        options=("pose_style",),
        summary=_summarise_pose,
    ),
    ImageKind(
        name="uv_tex",
        takes="mesh",
        help="the texture as a UV map",
        make=lambda o: draw.textures(o.textures),
        over_image=False,
        options=("uv_size", "uv_mask"),
        extra_files=(ExtraFile(ending=lambda options: "_mask.png" if options.uv_mask else None, write=_save_masks),),
    ),
    ImageKind(
        name="6dof",
        takes="mesh",
        help="head pose before a perspective camera: surface, axes, projected box and distance",
        make=_draw_6dof,
        options=("alpha", "background", "intrinsics"),
        summary=_summarise_6dof,
    ),
    ImageKind(
        name="volume",
        help="the volumes of voxels that JVCR predicts, over the crop, and its points from three sides",
        make=_draw_volumes,
        over_image=False,
        takes="volumes",
    ),
    ImageKind(
        name="box",
        help="the box, the score and five points of each face",
        make=_draw_boxes,
        summary=_summarise_boxes,
    ),
    MeshKind(
        name="ply",
        takes="mesh",
        help="the mesh, binary or text",
        make=_save_ply,
        suffix=".ply",
        options=("space", "ascii", "vertex_colors", "uv_size"),
    ),
    MeshKind(
        name="obj",
        takes="mesh",
        help="the mesh with .mtl and texture",
        make=_save_obj,
        suffix=".obj",
        side_files=(r"(_obj)?\.mtl", r"_obj(_\d+)?\.png"),
        options=("space", "vertex_colors", "uv_size"),
    ),
    MeshKind(
        name="glb",
        takes="mesh",
        help="the head with its texture, ARKit's blendshapes and its pose, for the web and for animation",
        make=_save_glb,
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
