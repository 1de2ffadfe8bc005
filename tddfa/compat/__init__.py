"""The Python interface of 3DDFA_V2: scripts written for it run with the imports changed.

For example::

    from tddfa.compat import TDDFA, FaceBoxes

    cfg = yaml.safe_load(open("configs/mb1_120x120.yml"))
    face_boxes = FaceBoxes()
    tddfa = TDDFA(gpu_mode=False, **cfg)
    boxes = face_boxes(image)
    param_lst, roi_box_lst = tddfa(image, boxes)
    ver_lst = tddfa.recon_vers(param_lst, roi_box_lst, dense_flag=True)

The drawing and writing functions of its ``utils`` are here too, with the same names. Shapes, order and frames are
those of 3DDFA_V2: points (3, n), 62 parameters, z from 0 upwards. Use `tddfa.Aligner` in new code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from FaceBoxes import Detector
from tddfa import draw, export
from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa.aligner import Aligner
from tddfa.compat.config import CROP, detector, resolve
from tddfa.compat.config import convert_config as convert_config
from tddfa.compat.fetch import folder
from tddfa.compat.functions import calc_hypotenuse as calc_hypotenuse
from tddfa.compat.functions import crop_img as crop_img
from tddfa.compat.functions import get_suffix as get_suffix
from tddfa.compat.functions import parse_roi_box_from_bbox as parse_roi_box_from_bbox
from tddfa.compat.functions import parse_roi_box_from_landmark as parse_roi_box_from_landmark
from tddfa.compat.functions import roi_box as roi_box
from tddfa.compat.pose import P2sRt as P2sRt
from tddfa.compat.pose import calc_pose as calc_pose
from tddfa.compat.pose import matrix2angle as matrix2angle
from tddfa.crop import roi_from_box, roi_from_landmarks
from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.model.assets import AssetError, config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.surface.texture import unwrap, vertex_colors
from tddfa.types import Face, Mesh, Params

_Image = NDArray[np.uint8]
_Points = Sequence[ArrayLike]
_Path = str | os.PathLike[str] | None

_PARAMETERS = 62
_DENSE = (0, 255, 0)
_BOX = (255, 0, 0)
_MAX_DOTS = 106
_FARTHEST = 2.0**14  # px: OpenCV draws with fixed-point numbers


class TDDFA:
    """3DDFA_V2's regressor and face model.

    Parameters
    ----------
    gpu_mode : bool
        Run on the GPU if there is one.
    gpu_id : int
        Ignored, as the first GPU is used; 3DDFA_V2 has it.
    exact_crop : bool
        Crop at the exact edges, see `tddfa.Aligner.load`. Results then differ from those of 3DDFA_V2.
    **cfg
        Keys of a config of 3DDFA_V2: ``arch``, ``checkpoint_fp`` and so on; paths are relative to the working folder.
        Without any, the fetched model is used: ``mb1_120x120``, or ``mb05_120x120`` if that is missing.

    Raises
    ------
    AssetError, ConfigError
        If a file is missing, or a key is unknown or has a wrong value.
    """

    def __init__(self, *, gpu_mode: bool = False, gpu_id: int = 0, exact_crop: bool = False, **cfg: Any) -> None:
        del gpu_id
        config = resolve(_here(), cfg, called="TDDFA(**cfg)") if cfg else _fetched()
        self.aligner = Aligner(
            Model(verified(config.model), "auto" if gpu_mode else "cpu"),
            Decoder(FaceModel.load(verified(config.face_model)), replace(CROP, rounded=not exact_crop)),
        )
        self.size = CROP.size

    @property
    def tri(self) -> NDArray[np.int32]:
        """Triangles (m, 3), in the order of 3DDFA_V2: clockwise when seen from outside."""
        return np.ascontiguousarray(self.aligner.face_model.triangles[:, ::-1])

    @cached_property
    def keypoints(self) -> NDArray[np.int64]:
        """Rows (204,) of x, y and z of the 68 landmarks among the dense vertices."""
        vertices = self.aligner.face_model.landmark_triangles[:, :1].astype(np.int64)
        return (3 * vertices + np.arange(3)).reshape(-1)

    def __call__(
        self,
        img_ori: NDArray[np.uint8],
        objs: Sequence[ArrayLike],
        *,
        crop_policy: str = "box",
        timer_flag: bool = False,
    ) -> tuple[list[NDArray[np.float32]], list[list[float]]]:
        """Regress the parameters of faces.

        Parameters
        ----------
        img_ori : ndarray (h, w, 3) uint8
            BGR.
        objs : sequence of array_like
            Box (4 or 5,) of each face, or with ``crop_policy="landmark"`` its points (2 or 3, n).
        crop_policy : {"box", "landmark"}
            Whether `objs` are boxes or landmarks.
        timer_flag : bool
            Ignored; 3DDFA_V2 has it.

        Returns
        -------
        param_lst : list of ndarray (62,) float32
            The 3x4 camera row by row, to a crop of 120 px counted from 1 with y up; 40 of shape, 10 of expression.
        roi_box_lst : list of list of float
            Left, top, right, bottom of the square of each face.
        """
        del timer_flag
        rule = self.aligner.crop
        if crop_policy == "box":
            rois = [roi_from_box(np.asarray(box, dtype=np.float64)[:4], rule) for box in objs]
        elif crop_policy == "landmark":
            rois = [roi_from_landmarks(np.asarray(points).T, rule) for points in objs]
        else:
            raise ValueError(f"crop_policy: expected box or landmark, got {crop_policy!r}")
        faces = self.aligner(img_ori, rois=rois)
        return [parameters(face) for face in faces], [roi_box(face.roi) for face in faces]

    def recon_vers(
        self, param_lst: Sequence[ArrayLike], roi_box_lst: Sequence[ArrayLike], dense_flag: bool = False, **_: Any
    ) -> list[NDArray[np.float32]]:
        """Reconstruct points of faces. Other options have no effect, as in 3DDFA_V2.

        Parameters
        ----------
        param_lst : sequence of array_like (62,)
            See `__call__`.
        roi_box_lst : sequence of array_like (4,)
            See `__call__`.
        dense_flag : bool
            Return all vertices instead of the 68 landmarks.

        Returns
        -------
        list of ndarray (3, n) float32
            x, y in px of the image; z in the same scale, from 0 upwards.
        """
        model = self.aligner.face_model
        decode = model.vertices if dense_flag else model.landmarks
        # where the middle of the crop's first px lies, px of the crop; 3DDFA_V2 takes it for the edge
        first = 0.0 if self.aligner.crop.rounded else 0.5
        result = []
        for values, box in zip(param_lst, roi_box_lst, strict=True):
            param = checked("param_lst", np.asarray(values).reshape(-1), (_PARAMETERS,))
            left, top, right, bottom = checked("roi_box_lst", box, (4,), np.float64)
            # size of a px of the crop in the image
            across, down = (right - left) / self.size, (bottom - top) / self.size
            matrix = param[:12].reshape(3, 4).astype(np.float64)
            matrix[:, 3] += (-1, -self.size, -1)
            matrix *= np.array([[across], [-down], [(across + down) / 2]])
            matrix[:2, 3] += (left + first * across, top + first * down)
            points = Camera(matrix.astype(np.float32)).project(decode(param[12:52], param[52:])).T.copy()
            points[2] -= points[2].min()
            result.append(points)
        return result


class FaceBoxes:
    """3DDFA_V2's detector: the fetched one (``tddfa fetch 3ddfa_v2``), or that of a checkout in the working folder.

    Parameters
    ----------
    timer_flag : bool
        Ignored; 3DDFA_V2 has it.

    Raises
    ------
    ConfigError
        If it was not fetched, and is not in the working folder.
    """

    def __init__(self, timer_flag: bool = False) -> None:
        del timer_flag
        fetched = folder() / "faceboxes.onnx"
        self.detector = Detector(
            Model(fetched if fetched.is_file() else detector(_here(), called="FaceBoxes()"), "cpu")
        )

    def __call__(self, img_: NDArray[np.uint8]) -> list[list[float]]:
        """Detect faces: rows of x1, y1, x2, y2 in px and the score, best first."""
        found = self.detector(img_)
        rows = np.column_stack([found.xyxy, found.scores]).astype(np.float64)
        return [[float(value) for value in row] for row in rows]


# 3DDFA_V2 has two classes for each, for torch and for ONNX.
TDDFA_ONNX, FaceBoxes_ONNX = TDDFA, FaceBoxes


def parameters(face: Face) -> NDArray[np.float32]:
    """The 62 parameters of 3DDFA_V2 of a face aligned with its weights."""
    camera = face.params.camera.astype(np.float64)
    camera[1] *= -1
    camera[:, 3] += (1, CROP.size, 1)
    return np.concatenate([camera.reshape(-1), face.params.shape, face.params.expression]).astype(np.float32)


def _here() -> Path:
    # 3DDFA_V2's scripts run in its repository, where its configs have a folder
    return Path.cwd() / "configs" / "cfg"


def _fetched() -> Config:
    try:
        return Config.load(config_path("mb1_120x120"))
    except AssetError:
        return Config.load(config_path("mb05_120x120"))


# The functions of `utils`, drawn by `tddfa.draw`. Each returns the image (or the file) and writes it if `wfp` is given.
# None opens a window, whatever `show_flag` is.


def draw_landmarks(
    img: _Image,
    pts: _Points | NDArray[Any],
    style: str = "fancy",
    wfp: _Path = None,
    show_flag: bool = False,
    *,
    dense_flag: bool = False,
    **_: Any,
) -> _Image:
    """``utils.functions.draw_landmarks``: the 68 points (3, 68) of each face, or with `dense_flag` every 6th vertex.

    They look as those of `tddfa.draw.landmarks`: `style` and Matplotlib's options, as ``color``, have no effect.

    Examples
    --------
    >>> draw_landmarks(image, [face.landmarks.T]).shape == image.shape
    True
    """
    del style, show_flag
    if isinstance(pts, np.ndarray) and pts.ndim == 2:
        pts = [pts]  # one face
    if not dense_flag:
        return _written(wfp, draw.landmarks(img, [_face(points) for points in pts]))
    out = img.copy()
    for points in pts:
        x, y = np.rint(np.asarray(points)[:2, ::6]).astype(np.intp)
        inside = (x >= 0) & (x < img.shape[1]) & (y >= 0) & (y < img.shape[0])
        out[y[inside], x[inside]] = _DENSE
    return _written(wfp, out)


def cv_draw_landmark(
    img_ori: _Image,
    pts: ArrayLike,
    box: ArrayLike | None = None,
    color: tuple[int, int, int] = _DENSE,
    size: int = 1,
) -> _Image:
    """``utils.functions.cv_draw_landmark``: dots on the points (2 or 3, n) of one face, and its box in blue.

    More than 106 points are drawn as rings, as there.

    Examples
    --------
    >>> cv_draw_landmark(image, face.landmarks.T, box=face.box).shape == image.shape
    True
    """
    out = img_ori.copy()
    points = _whole(np.asarray(pts)[:2].T)
    for x, y in points:
        cv2.circle(out, (x, y), size, color, -1 if len(points) <= _MAX_DOTS else 1)
    if box is not None:
        (left, top), (right, bottom) = _whole(np.asarray(box)[:4].reshape(2, 2))
        cv2.rectangle(out, (left, top), (right, bottom), _BOX, 1)
    return out


def render(
    img: _Image, ver_lst: _Points, tri: ArrayLike, alpha: float = 0.6, show_flag: bool = False, wfp: _Path = None,
    with_bg_flag: bool = True,
) -> _Image:  # fmt: skip
    """``utils.render.render``: the lit surfaces.

    Examples
    --------
    >>> render(image, [mesh.vertices.T], mesh.triangles[:, ::-1]).shape == image.shape
    True
    """
    del show_flag
    meshes, background = _meshes(ver_lst, tri), _background(with_bg_flag)
    return _written(wfp, draw.mesh(img, meshes, alpha=alpha, background=background, style="classic"))


def depth(
    img: _Image, ver_lst: _Points, tri: ArrayLike, show_flag: bool = False, wfp: _Path = None, with_bg_flag: bool = True
) -> _Image:
    """``utils.depth.depth``: white is the nearest vertex of each face, and black the farthest."""
    del show_flag
    meshes, background = _meshes(ver_lst, tri), _background(with_bg_flag)
    return _written(wfp, draw.depth(img, meshes, background=background, style="classic"))


def pncc(
    img: _Image, ver_lst: _Points, tri: ArrayLike, show_flag: bool = False, wfp: _Path = None, with_bg_flag: bool = True
) -> _Image:
    """``utils.pncc.pncc``: the projected normalised coordinate code; needs the fetched face model."""
    del show_flag
    coordinates = _fetched_face_model().normalized_coordinates
    return _written(wfp, draw.pncc(img, _meshes(ver_lst, tri), coordinates, background=_background(with_bg_flag)))


def uv_tex(
    img: _Image, ver_lst: _Points, tri: ArrayLike, uv_h: int = 256, uv_w: int = 256, uv_c: int = 3,
    show_flag: bool = False, wfp: _Path = None,
) -> _Image:  # fmt: skip
    """``utils.uv.uv_tex``: square textures side by side; needs the fetched face model."""
    del show_flag
    if uv_h != uv_w or uv_c != 3:
        raise ValueError(f"uv_h, uv_w, uv_c: expected a square texture of 3 channels, got {uv_h}, {uv_w}, {uv_c}")
    uv = _fetched_face_model().uv
    textures = [unwrap(img, replace(mesh, uv=uv), size=uv_h) for mesh in _meshes(ver_lst, tri)]
    return _written(wfp, draw.textures(textures))


def viz_pose(
    img: _Image, param_lst: Sequence[ArrayLike], ver_lst: _Points, show_flag: bool = False, wfp: _Path = None
) -> _Image:
    """``utils.pose.viz_pose``: a box that opens where the head looks; `ver_lst` holds the 68 points."""
    del show_flag
    faces = []
    for param, points in zip(param_lst, ver_lst, strict=True):
        matrix = np.asarray(param, dtype=np.float64).reshape(-1)[:12].reshape(3, 4) * np.array([[1.0], [-1.0], [1.0]])
        faces.append(replace(_face(points), camera=Camera(matrix.astype(np.float32))))
    return _written(wfp, draw.pose(img, faces))


def ser_to_ply(
    ver_lst: _Points, tri: ArrayLike, height: float, wfp: str | os.PathLike[str], reverse: bool = True
) -> Path:
    """``utils.serialization.ser_to_ply``: all faces in one mesh, as text; y goes up from `height`.

    `reverse` turns the triangles around, so that they are counter-clockwise as seen from outside.
    """
    ordered = np.asarray(tri) if reverse else np.asarray(tri)[:, ::-1]
    return export.save(wfp, _meshes(ver_lst, ordered), image_height=height, ascii=True)[0]


def ser_to_obj(img: _Image, ver_lst: _Points, tri: ArrayLike, height: float, wfp: str | os.PathLike[str]) -> Path:
    """``utils.serialization.ser_to_obj``: the colours of the image on the vertices; y goes up from `height`."""
    meshes = [replace(mesh, colors=vertex_colors(img, mesh)) for mesh in _meshes(ver_lst, tri)]
    return export.save(wfp, meshes, image_height=height, vertex_colors=True)[0]


ser_to_ply_multiple, ser_to_obj_multiple = ser_to_ply, ser_to_obj


def ser_to_ply_single(
    ver_lst: _Points, tri: ArrayLike, height: float, wfp: str | os.PathLike[str], reverse: bool = True
) -> list[Path]:
    """``utils.serialization.ser_to_ply_single``: a file for each face, ``face_1.ply`` and so on for ``face.ply``."""
    return [ser_to_ply([points], tri, height, _numbered(wfp, k), reverse) for k, points in enumerate(ver_lst)]


def ser_to_obj_single(
    img: _Image, ver_lst: _Points, tri: ArrayLike, height: float, wfp: str | os.PathLike[str]
) -> list[Path]:
    """``utils.serialization.ser_to_obj_single``: a file for each face, ``face_1.obj`` and so on for ``face.obj``."""
    return [ser_to_obj(img, [points], tri, height, _numbered(wfp, k)) for k, points in enumerate(ver_lst)]


def _numbered(wfp: str | os.PathLike[str], index: int) -> Path:
    path = Path(wfp)
    return path.with_name(f"{path.stem}_{index + 1}{path.suffix}")


def _meshes(ver_lst: _Points, tri: ArrayLike) -> list[Mesh]:
    triangles = np.asarray(tri)[:, ::-1]
    return [Mesh(np.asarray(points, dtype=np.float32).T, triangles) for points in ver_lst]


def _face(points: ArrayLike) -> Face:
    landmarks = np.asarray(points, dtype=np.float32).T
    if landmarks.shape[-1:] == (2,):
        landmarks = np.column_stack([landmarks, np.zeros(len(landmarks))])
    none = np.zeros(0, dtype=np.float32)
    camera = np.eye(3, 4, dtype=np.float32)
    roi = roi_from_landmarks(landmarks, CROP)
    return Face(
        box=np.array(roi_box(roi), dtype=np.float32), score=1.0, roi=roi, params=Params(camera, none, none),
        camera=Camera(camera), landmarks=landmarks,
    )  # fmt: skip


def _whole(points: NDArray[Any]) -> list[list[int]]:
    """The nearest whole numbers, within what OpenCV takes."""
    return [[int(value) for value in row] for row in np.rint(np.clip(points, -_FARTHEST, _FARTHEST))]


def _background(with_bg_flag: bool) -> Literal["image", "black"]:
    return "image" if with_bg_flag else "black"


def _written(wfp: _Path, image: _Image) -> _Image:
    if wfp is not None:
        image_io.write(wfp, image)
    return image


@lru_cache(maxsize=1)
def _face_model_of(path: Path) -> FaceModel:
    return FaceModel.load(verified(path))


def _fetched_face_model() -> FaceModel:
    return _face_model_of(_fetched().face_model)
