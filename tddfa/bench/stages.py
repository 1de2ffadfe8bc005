"""The stages of this package that are timed, each a function without arguments, ready to be called again and again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detector
from FaceBoxes.anchors import decode, priors
from FaceBoxes.nms import nms
from Sim3DR import interpolate, rasterize, vertex_normals
from tddfa import draw
from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.bench.material import MANY, Material, read
from tddfa.crop import crop_image
from tddfa.model.runtime import Model
from tddfa.outputs import KINDS, Options, Outputs, image_kinds
from tddfa.tracking.tracker import Tracker
from tddfa.types import Face, Mesh

BATCHES = (1, 8, 32)
GPU_BATCH = 256

_MAX_DRAWING_THREADS = 256


def with_threads(aligner: Aligner, threads: int | None) -> Aligner:
    """The same model with another number of threads in its networks; networks that are no files are shared."""

    def again(model: Callable[..., object]) -> Callable[..., object]:
        return Model(model.path, model.device, threads) if isinstance(model, Model) else model

    detector = aligner.detector
    if isinstance(detector, Detector):
        detector = replace(detector, model=again(detector.model))  # type: ignore[arg-type]
    return Aligner(
        again(aligner.regressor),  # type: ignore[arg-type]
        aligner.decoder,
        detector=detector,
        min_score=aligner.min_score,
        refine=aligner.refine,
        flip=aligner.flip,
        visibility=aligner.visibility,
    )


class Context:
    """What stages need, made when the first of them asks for it: one alone loads nothing for the others.

    Parameters
    ----------
    aligner : Aligner
        With a detector.
    material : Material
        The pictures.
    scratch : Path
        A folder to write to.
    threads : int or None
        Of the renderer, and of processes that load the aligner again; None takes all.
    """

    def __init__(self, aligner: Aligner, material: Material, scratch: Path, threads: int | None = None) -> None:
        self.aligner, self.material, self.scratch, self.threads = aligner, material, scratch, threads

    @property
    def drawing_threads(self) -> int:
        """Threads of the renderer."""
        return min(self.threads or os.cpu_count() or 1, _MAX_DRAWING_THREADS)

    @cached_property
    def detector(self) -> Detector:
        """FaceBoxes itself, whose parts are timed."""
        if not isinstance(self.aligner.detector, Detector):
            raise ValueError("this model has no detector")
        return self.aligner.detector

    @cached_property
    def images(self) -> dict[int, NDArray[np.uint8]]:
        """The picture with one face and the one with many, by how many."""
        one, many = read([self.material.one, self.material.many])
        return {1: one, MANY: many}

    @cached_property
    def faces(self) -> dict[int, list[Face]]:
        """Their faces, from the true boxes."""
        boxes = {1: self.material.one_boxes, MANY: self.material.many_boxes}
        return {count: self.aligner(image, boxes=np.array(boxes[count])) for count, image in self.images.items()}

    @cached_property
    def meshes(self) -> dict[int, list[Mesh]]:
        """Their meshes."""
        return {count: [self.aligner.decoder.mesh(face) for face in faces] for count, faces in self.faces.items()}

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """The picture with many faces, as the detector's network sees it."""
        return np.ascontiguousarray(cv2.resize(self.images[MANY], self.small_size))

    @cached_property
    def small_size(self) -> tuple[int, int]:
        """Its width and height, px."""
        height, width = self.images[MANY].shape[:2]
        scale = min(1.0, self.detector.max_height / height)
        scale = min(scale, self.detector.max_width / width)
        return int(scale * width), int(scale * height)

    @cached_property
    def outputs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores (n,) and offsets (n, 4) that it gives."""
        outputs = self.detector.model(self.small[None])
        return outputs["scores"][0], outputs["offsets"][0]

    def candidates(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (n, 4) and scores (n,) over the detector's score."""
        scores, offsets = self.outputs
        kept = np.flatnonzero(scores > self.detector.score)
        return decode(priors(*self.small.shape[:2])[kept], offsets[kept]), scores[kept]

    @cached_property
    def window(self) -> tuple[int, int, int, int]:
        """The part of the picture that the large face covers."""
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
    """Something that is timed.

    Attributes
    ----------
    name : str
        Stable, for programs.
    label : str
        For people.
    make : callable
        `Context` -> what is called.
    faces : int
        How many faces a call deals with.
    """

    name: str
    label: str
    make: Make
    faces: int = 1


def stages(gpu: bool = False) -> list[Stage]:
    """All stages that run in this process, in the order of the table; those of a GPU only where there is one."""
    return [*_detection(), *_alignment(gpu), *_rendering(), *_outputs(), *_whole()]


def chosen(every: Sequence[Stage], patterns: str) -> list[Stage]:
    """The stages whose names match one of the patterns (``detect*,3d.1``).

    Raises
    ------
    ValueError
        If a pattern matches none.
    """
    listed = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()] or ["*"]
    for pattern in listed:
        if not any(fnmatchcase(stage.name, pattern) for stage in every):
            raise ValueError(f"stages: {pattern!r} matches none of {', '.join(stage.name for stage in every)}")
    return [stage for stage in every if any(fnmatchcase(stage.name, pattern) for pattern in listed)]


def _detection() -> Iterator[Stage]:
    def suppress(context: Context) -> Callable[[], object]:
        detector = context.detector
        return partial(nms, *context.candidates(), detector.iou, detector.max_faces)

    def candidates(context: Context) -> Callable[[], object]:
        context.candidates()  # the network is not part of it
        return context.candidates

    yield Stage("read", "read a JPEG of 1280 x 720 px", lambda c: partial(image_io.read, c.material.one))
    yield Stage("detect", "detect, whole call", lambda c: partial(c.detector, c.images[MANY]), MANY)
    yield Stage("detect.resize", "detect: resize", lambda c: partial(cv2.resize, c.images[MANY], c.small_size), MANY)
    yield Stage("detect.network", "detect: network", lambda c: partial(c.detector.model, c.small[None]), MANY)
    yield Stage("detect.decode", "detect: decode", candidates, MANY)
    yield Stage("detect.nms", "detect: suppress", suppress, MANY)


def _alignment(gpu: bool) -> Iterator[Stage]:
    def crops(context: Context, count: int) -> NDArray[np.uint8]:
        size = context.aligner.crop.size
        out = np.empty((count, size, size, 3), dtype=np.uint8)
        crop_image(context.images[1], context.faces[1][0].roi, out[0], rounded=context.aligner.crop.rounded)
        out[1:] = out[0]
        return out

    def cutting(context: Context) -> Callable[[], object]:
        out, rounded = crops(context, 1)[0], context.aligner.crop.rounded
        return partial(crop_image, context.images[1], context.faces[1][0].roi, out, rounded=rounded)

    def sparse(context: Context) -> Callable[[], object]:
        face, model = context.faces[1][0], context.aligner.face_model
        return lambda: face.camera.project(model.landmarks(face.params.shape, face.params.expression))

    def network(context: Context, count: int) -> Callable[[], object]:
        return partial(context.aligner.regressor, crops(context, count))

    def align(context: Context, count: int) -> Callable[[], object]:
        return partial(context.aligner, context.images[count], rois=[face.roi for face in context.faces[count]])

    yield Stage("crop", "crop", cutting)
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
    def blend(context: Context) -> Callable[[], object]:
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
    yield Stage("interpolate", "interpolate 3 channels", blend)


@dataclass(frozen=True)
class _Drawn(Outputs):
    """Faces whose meshes are there already."""

    given: Sequence[Mesh] = ()

    @cached_property
    def meshes(self) -> list[Mesh]:
        """The meshes given."""
        return list(self.given)


def _outputs() -> Iterator[Stage]:
    def drawing(context: Context, kind: str, count: int) -> Callable[[], object]:
        image, meshes, threads = context.images[count], context.meshes[count], context.drawing_threads
        if kind in ("3d", "depth"):
            return partial(draw.mesh if kind == "3d" else draw.depth, image, meshes, threads=threads)
        if kind == "pncc":
            return partial(draw.pncc, image, meshes, context.aligner.face_model.normalized_coordinates, threads=threads)
        parts = image, context.faces[count], context.aligner, Options(), meshes
        # a new one each time: it keeps what it has computed
        return lambda: _Drawn(*parts).draw(kind)

    def file(context: Context, kind: str) -> Callable[[], object]:
        outputs = _Drawn(context.images[1], context.faces[1], context.aligner, Options(), context.meshes[1])
        # meshes and textures are there: encoding and writing are timed
        assert outputs.textures
        return lambda: outputs.save(kind, context.scratch / "bench")

    for kind in KINDS:
        if kind not in image_kinds():
            yield Stage(kind, f".{kind}, written", partial(file, kind=kind))
            continue
        for count in (1, MANY):
            make = partial(drawing, kind=kind, count=count)
            yield Stage(f"{kind}.{count}", f"{kind}: {_faces(count)}", make, count)


def _whole() -> Iterator[Stage]:
    def step(context: Context) -> Callable[[], object]:
        tracker = Tracker(context.aligner)
        frames = itertools.cycle(read(context.material.frames))
        return lambda: tracker(next(frames))

    yield Stage("video.step", "a frame of a video, one_euro", step)
    yield Stage("process.warm", "photo to 3d file, all loaded", photo_to_file)


def photo_to_file(context: Context) -> Callable[[], object]:
    """What ``tddfa image -o 3d`` does for a photo, once everything is loaded."""

    def run() -> object:
        image = image_io.read(context.material.one)
        return Outputs(image, context.aligner(image), context.aligner, Options()).save("3d", context.scratch / "warm")

    return run
