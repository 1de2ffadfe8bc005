"""The stages that are timed. Each is a function without arguments that can be called repeatedly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detector as FaceBoxes
from FaceBoxes.decoding import decoded
from FaceBoxes.detections import Detections
from FaceBoxes.nms import nms
from Sim3DR import interpolate, rasterize, vertex_normals
from tddfa import draw
from tddfa._shared import image_io
from tddfa._shared.cores import available_cores
from tddfa.aligner import Aligner
from tddfa.bench.material import MANY, Material, read
from tddfa.crop import crop_image
from tddfa.detector import Detector, YuNet
from tddfa.jvcr.regressor import JvcrRegressor
from tddfa.model.runtime import Model
from tddfa.outputs import KINDS, Options, Outputs, image_kinds
from tddfa.tracking.tracker import Tracker
from tddfa.types import Face, Mesh

BATCHES = (1, 8, 32)
GPU_BATCH = 256

_MAX_DRAWING_THREADS = 256


def with_threads(aligner: Aligner, threads: int | None) -> Aligner:
    """Copy an aligner, with another number of threads for its networks. Networks not loaded from files are shared."""

    def reload(model: Callable[..., object]) -> Callable[..., object]:
        if isinstance(model, JvcrRegressor):
            return JvcrRegressor(reload(model.network), model.face_model)  # type: ignore[arg-type]
        return Model(model.path, model.device, threads) if isinstance(model, Model) else model

    detector = aligner.detector
    if detector is not None and isinstance(detector.find, FaceBoxes | YuNet):
        detector = detector.with_options(model=reload(detector.find.model))
    return Aligner(
        reload(aligner.regressor),  # type: ignore[arg-type]
        aligner.decoder,
        detector=detector,
        min_score=aligner.min_score,
        refine=aligner.refine,
        flip=aligner.flip,
        visibility=aligner.visibility,
        rotations=aligner.rotations,
        sure_score=aligner.sure_score,
    )


class Context:
    """Inputs of the stages. Each is computed on first use, so that a stage loads only what it needs.

    Parameters
    ----------
    aligner : Aligner
        The model, with a detector.
    material : Material
        The images.
    scratch : Path
        Folder for output files.
    threads : int, optional
        Threads of the renderer, and of processes that load the aligner again. By default, one per core.
    """

    def __init__(self, aligner: Aligner, material: Material, scratch: Path, *, threads: int | None = None) -> None:
        self.aligner, self.material, self.scratch, self.threads = aligner, material, scratch, threads

    @property
    def drawing_threads(self) -> int:
        """Number of threads of the renderer."""
        return min(self.threads or available_cores(), _MAX_DRAWING_THREADS)

    @cached_property
    def detector(self) -> Detector:
        """The detector of the model."""
        if self.aligner.detector is None:
            raise ValueError("this model has no detector")
        return self.aligner.detector

    @cached_property
    def faceboxes(self) -> FaceBoxes:
        """The detector, if it is FaceBoxes, whose parts are timed."""
        find = self.detector.find
        if not isinstance(find, FaceBoxes):
            raise ValueError(f"this model has a detector of another kind, {type(find).__name__}")
        return find

    @cached_property
    def images(self) -> dict[int, NDArray[np.uint8]]:
        """Images with one face and with `MANY` faces, by number of faces."""
        one, many = read([self.material.one, self.material.many])
        return {1: one, MANY: many}

    @cached_property
    def faces(self) -> dict[int, list[Face]]:
        """Faces of the images, aligned in the boxes of the material."""
        boxes = {1: self.material.one_boxes, MANY: self.material.many_boxes}
        return {count: self.aligner(image, boxes=np.array(boxes[count])) for count, image in self.images.items()}

    @cached_property
    def meshes(self) -> dict[int, list[Mesh]]:
        """Meshes of the faces."""
        return {count: [self.aligner.decoder.mesh(face) for face in faces] for count, faces in self.faces.items()}

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """The image with many faces at the size of the detector's input."""
        return np.ascontiguousarray(cv2.resize(self.images[MANY], self.small_size))

    @cached_property
    def small_size(self) -> tuple[int, int]:
        """Width and height of the detector's input, px."""
        height, width = self.faceboxes.scales.whole_size(*self.images[MANY].shape[:2])
        return width, height

    @cached_property
    def outputs(self) -> Mapping[str, NDArray[np.float32]]:
        """Outputs of the detector's network."""
        return self.faceboxes.model(self.small[None])

    def candidates(self) -> Detections:
        """Boxes above the detector's minimum score."""
        prior = self.faceboxes.layout.priors(*self.small.shape[:2])
        return decoded(prior, self.outputs, self.faceboxes.score)

    @cached_property
    def window(self) -> tuple[int, int, int, int]:
        """Window of the image that the large face covers: left, top, width, height, px."""
        points = self.meshes[1][0].vertices[:, :2]
        height, width = self.images[1].shape[:2]
        left, top = np.clip(np.floor(points.min(axis=0)), 0, (width - 1, height - 1)).astype(int).tolist()
        right, bottom = (
            np.clip(np.ceil(points.max(axis=0)) + 1, (left + 1, top + 1), (width, height)).astype(int).tolist()
        )
        return left, top, right - left, bottom - top


Make = Callable[[Context], Callable[[], object]]


@dataclass(frozen=True)
class Stage:
    """A stage that is timed.

    Attributes
    ----------
    name : str
        Name for programs. It does not change between versions.
    label : str
        Name for readers.
    make : callable
        Returns the function to time, for a `Context`.
    faces : int
        Number of faces per call.
    """

    name: str
    label: str
    make: Make
    faces: int = 1


def stages(*, gpu: bool = False) -> list[Stage]:
    """List all stages that run in this process, in the order of the table; `gpu` adds a large batch."""
    return [*_default(), *_detection(), *_alignment(gpu), *_rendering(), *_outputs(), *_whole()]


def chosen(every: Sequence[Stage], patterns: str) -> list[Stage]:
    """Select the stages whose names match at least one pattern.

    Parameters
    ----------
    every : sequence of Stage
        The stages to select from.
    patterns : str
        Patterns with shell-style wildcards, separated by commas. An empty string selects all stages.

    Raises
    ------
    ValueError
        If a pattern matches no stage.

    Examples
    --------
    >>> [stage.name for stage in chosen(stages(), "crop,3d.*")]
    ['crop', '3d.1', '3d.20']
    """
    parts = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()] or ["*"]
    for pattern in parts:
        if not any(fnmatchcase(stage.name, pattern) for stage in every):
            raise ValueError(f"stages: {pattern!r} matches none of {', '.join(stage.name for stage in every)}")
    return [stage for stage in every if any(fnmatchcase(stage.name, pattern) for pattern in parts)]


def _default() -> Iterator[Stage]:
    """The call that users make: all passes, with the settings of the aligner."""

    def call(context: Context, count: int) -> Callable[[], object]:
        return partial(context.aligner, context.images[count])

    for count in (1, MANY):
        label = f"image to landmarks, default settings: {_faces(count)}"
        yield Stage(f"default.{count}", label, partial(call, count=count), count)


def _detection() -> Iterator[Stage]:
    def suppress(context: Context) -> Callable[[], object]:
        detector = context.faceboxes
        found = context.candidates()
        return partial(nms, found.xyxy, found.scores, detector.iou, detector.max_faces)

    def candidates(context: Context) -> Callable[[], object]:
        context.candidates()  # runs the network now, so that it is not timed
        return context.candidates

    yield Stage("read", "read a JPEG of 1280 x 720 px", lambda c: partial(image_io.read, c.material.one))
    yield Stage("detect", "detect: whole call", lambda c: partial(c.detector, c.images[MANY]), MANY)
    yield Stage("detect.resize", "detect: resize", lambda c: partial(cv2.resize, c.images[MANY], c.small_size), MANY)
    yield Stage("detect.network", "detect: network", lambda c: partial(c.faceboxes.model, c.small[None]), MANY)
    yield Stage("detect.decode", "detect: decode", candidates, MANY)
    yield Stage("detect.nms", "detect: non-maximum suppression", suppress, MANY)


def _alignment(gpu: bool) -> Iterator[Stage]:
    def crops(context: Context, count: int) -> NDArray[np.uint8]:
        size = context.aligner.crop.size
        out = np.empty((count, size, size, 3), dtype=np.uint8)
        crop_image(context.images[1], context.faces[1][0].roi, out[0], rounded=context.aligner.crop.rounded)
        out[1:] = out[0]
        return out

    def crop(context: Context) -> Callable[[], object]:
        out, rounded = crops(context, 1)[0], context.aligner.crop.rounded
        return partial(crop_image, context.images[1], context.faces[1][0].roi, out, rounded=rounded)

    def sparse(context: Context) -> Callable[[], object]:
        face, model = context.faces[1][0], context.aligner.face_model
        return lambda: face.camera.project(model.landmarks(face.params.shape, face.params.expression))

    def network(context: Context, count: int) -> Callable[[], object]:
        return partial(context.aligner.regressor, crops(context, count))

    def align(context: Context, count: int) -> Callable[[], object]:
        return partial(context.aligner, context.images[count], rois=[face.roi for face in context.faces[count]])

    yield Stage("crop", "crop", crop)
    for batch in (*BATCHES, *([GPU_BATCH] if gpu else [])):
        yield Stage(f"network.{batch}", f"network, batch {batch}", partial(network, count=batch), batch)
    yield Stage("decode.sparse", "68 landmarks", sparse)
    yield Stage("decode.dense", "dense vertices", lambda c: partial(c.aligner.decoder.mesh, c.faces[1][0]))
    for count in (1, MANY):
        label = f"crop, network, landmarks: {_faces(count)}"
        yield Stage(f"align.{count}", label, partial(align, count=count), count)


def _faces(count: int) -> str:
    return "1 face" if count == 1 else f"{count} faces"


def _rendering() -> Iterator[Stage]:
    def interpolation(context: Context) -> Callable[[], object]:
        mesh = context.meshes[1][0]
        raster = rasterize(mesh.vertices, mesh.triangles, context.window, cull="back")
        colors, threads = context.aligner.face_model.normalized_coordinates, context.drawing_threads
        return partial(interpolate, raster, mesh.triangles, colors, threads=threads)

    def normals(context: Context) -> Callable[[], object]:
        mesh = context.meshes[1][0]
        return partial(vertex_normals, mesh.vertices, mesh.triangles)

    def raster(context: Context) -> Callable[[], object]:
        mesh = context.meshes[1][0]
        threads = context.drawing_threads
        return partial(rasterize, mesh.vertices, mesh.triangles, context.window, cull="back", threads=threads)

    yield Stage("normals", "vertex normals", normals)
    yield Stage("rasterise", "rasterise a large face", raster)
    yield Stage("interpolate", "interpolate 3 channels", interpolation)


@dataclass(frozen=True)
class _Drawn(Outputs):
    """Outputs of faces whose meshes are already computed."""

    given: Sequence[Mesh] = ()

    @cached_property
    def meshes(self) -> list[Mesh]:
        """The given meshes."""
        return list(self.given)


def _outputs() -> Iterator[Stage]:
    def drawing(context: Context, kind: str, count: int) -> Callable[[], object]:
        image, meshes, threads = context.images[count], context.meshes[count], context.drawing_threads
        if kind in ("3d", "depth"):
            return partial(draw.mesh if kind == "3d" else draw.depth, image, meshes, threads=threads)
        if kind == "pncc":
            return partial(draw.pncc, image, meshes, context.aligner.face_model.normalized_coordinates, threads=threads)
        parts = image, context.faces[count], context.aligner, Options(), meshes
        # a new object per call, because it caches its results
        return lambda: _Drawn(*parts).draw(kind)

    def file(context: Context, kind: str) -> Callable[[], object]:
        outputs = _Drawn(context.images[1], context.faces[1], context.aligner, Options(), context.meshes[1])
        assert outputs.textures  # computed now, so that only encoding and writing are timed
        return lambda: outputs.save(kind, context.scratch / "bench")

    for kind, row in KINDS.items():
        if row.takes == "volumes":  # of a model that is not timed
            continue
        if kind not in image_kinds():
            yield Stage(kind, f"write .{kind}", partial(file, kind=kind))
            continue
        for count in (1, MANY):
            make = partial(drawing, kind=kind, count=count)
            yield Stage(f"{kind}.{count}", f"{kind}: {_faces(count)}", make, count)


def _whole() -> Iterator[Stage]:
    def step(context: Context) -> Callable[[], object]:
        tracker = Tracker(context.aligner)
        frames = itertools.cycle(read(context.material.frames))
        return lambda: tracker(next(frames))

    yield Stage("video.step", "video frame, smoothed by one_euro", step)
    yield Stage("process.warm", "image to 3d file, model loaded", image_to_file)


def image_to_file(context: Context) -> Callable[[], object]:
    """Return a function that does the work of ``tddfa image -o 3d`` for one image, with a loaded model."""

    def run() -> object:
        image = image_io.read(context.material.one)
        return Outputs(image, context.aligner(image), context.aligner, Options()).save("3d", context.scratch / "warm")

    return run
