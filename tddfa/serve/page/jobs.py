"""Processing of the page's uploads: from a photo or a video to files in a folder.

The functions of the library align, draw and write. This module does not use gradio.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tddfa import video
from tddfa._shared.errors import TddfaError
from tddfa._shared.files import safe_stem
from tddfa.aligner import Aligner
from tddfa.avatar import Performer, open_take
from tddfa.outputs import KINDS, ImageKind, MeshKind, Outputs
from tddfa.serve.engine import NAME, Engine
from tddfa.tracking.records import Recorder
from tddfa.tracking.tracker import Tracker
from tddfa.types import Face
from tddfa.video import Frame, Reader, VideoError

MAX_FACES = 32
"""Maximum number of faces per image that have outputs: the largest faces."""

_MAX_FPS = 60  # a video of the longest duration may have as many frames as at this rate
_MAX_STEM = 60  # characters of a name that are kept
_QUEUE_LENGTH = 4  # frames between two stages
# First bytes of the accepted containers. Other formats (playlists, lists of files) could name files of this machine.
_CONTAINERS = ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "))


class PageError(TddfaError, ValueError):
    """An upload cannot be processed; the message is one sentence for the person who sent it."""


@dataclass(frozen=True)
class Photo:
    """Results of a photo.

    Attributes
    ----------
    faces : list of dict
        The records of `Face.to_dict`.
    images : list of (Path, str)
        Drawings, with the names of their kinds.
    mesh : Path or None
        The ``.glb`` file.
    files : list of Path
        Everything to download, the images and the mesh included.
    """

    faces: list[dict[str, Any]]
    images: list[tuple[Path, str]]
    mesh: Path | None
    files: list[Path]


@dataclass
class Progress:
    """Progress of a video.

    Attributes
    ----------
    done : int
        Number of processed frames.
    total : int or None
        Number of frames of the video, by its header.
    faces : int
        Number of faces in the last frame.
    tracks : dict of int to int
        Track id -> the number of frames with it.
    files : list of Path
        Everything to download, the video first; empty until it is complete.
    """

    done: int = 0
    total: int | None = None
    faces: int = 0
    tracks: dict[int, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def photo_kinds(aligner: Aligner) -> list[str]:
    """Names of the kinds that can be made of the faces of an aligner.

    Examples
    --------
    >>> from tddfa.serve.page.jobs import photo_kinds
    >>> photo_kinds(aligner)[:3], "volume" in photo_kinds(aligner)
    (['2d_sparse', '2d_dense', '3d'], False)
    """
    return [name for name, kind in KINDS.items() if kind.missing(aligner) is None and not kind.needs]


def video_kinds(aligner: Aligner) -> list[str]:
    """Names of the kinds that are drawn over the frames of a video.

    Examples
    --------
    >>> from tddfa.serve.page.jobs import video_kinds
    >>> "pose" in video_kinds(aligner), "uv_tex" in video_kinds(aligner)
    (True, False)
    """
    kinds = ((name, KINDS[name]) for name in photo_kinds(aligner))
    return [name for name, kind in kinds if isinstance(kind, ImageKind) and kind.over_image]


def photo(engine: Engine, upload: Path, kinds: Sequence[str], folder: Path) -> Photo:
    """Align an uploaded photo, and write the chosen outputs to a new folder in `folder`.

    Parameters
    ----------
    engine : Engine
    upload : Path
    kinds : sequence of str
        Of `photo_kinds`.
    folder : Path

    Raises
    ------
    PageError
        If it is no photo or too large, if a kind is unknown, or if all places are taken.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tddfa.serve.engine import Engine
    >>> from tddfa.serve.page.jobs import photo
    >>> result = photo(Engine(aligner), Path("examples/inputs/astronaut.jpg"), ["pose"], tmp)
    >>> [path.name for path in result.files]
    ['astronaut_pose.jpg', 'astronaut.glb', 'astronaut.json']
    """
    chosen = _chosen(kinds, photo_kinds(engine.aligner))
    with _one_sentence(upload), engine.place():
        image = engine.image(_content(upload, engine.limits.bytes))
        faces = largest(engine.align(image))
        if not faces:
            return Photo([], [], None, [])
        outputs = Outputs(image, faces, engine.aligner)
        stem = _new_folder(folder) / _stem(upload)
        images, files, mesh = [], [], None
        if "glb" not in chosen and engine.aligner.decoder.has_mesh:
            chosen.append("glb")
        for name in chosen:
            made = outputs.save(name, stem)
            files += made
            if isinstance(KINDS[name], MeshKind):
                mesh = made[0] if name == "glb" else mesh
            else:
                images.append((made[0], name))
        files.append(outputs.save_json(stem, _stem(upload)))
        records = json.loads(files[-1].read_bytes())["faces"]
        return Photo(records, images, mesh, files)


def largest(faces: Sequence[Face]) -> list[Face]:
    """Return the `MAX_FACES` largest faces, in their order."""
    areas = [float(np.prod(face.box[2:] - face.box[:2])) for face in faces]
    kept = sorted(np.argsort(areas)[::-1][:MAX_FACES].tolist())
    return [faces[index] for index in kept]


def video_steps(engine: Engine, upload: Path, kind: str, folder: Path) -> Generator[Progress, None, None]:
    """Track the faces of an uploaded video, frame by frame; close the iterator to cancel it.

    The files are complete with the last step: the video, the records of its faces, and the animated heads. A video that
    is cancelled leaves no file.

    Parameters
    ----------
    engine : Engine
    upload : Path
    kind : str
        Of `video_kinds`.
    folder : Path

    Yields
    ------
    Progress
        After each frame, and once more when the files are complete.

    Raises
    ------
    PageError
        If it is no video or too long, if a frame has too many pixels, or if all places are taken.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tddfa.serve.engine import Engine
    >>> from tddfa.serve.page.jobs import video_steps
    >>> steps = video_steps(Engine(aligner), Path("examples/inputs/videos/crossing.mp4"), "pose", tmp)
    >>> first = next(steps)
    >>> first.done, first.total, first.faces
    (1, 300, 2)
    >>> steps.close()
    """
    (chosen,) = _chosen([kind], video_kinds(engine.aligner))
    with _one_sentence(upload), engine.place():
        _check_container(upload, engine.limits.bytes)
        target = _new_folder(folder) / f"{_stem(upload)}_{chosen}.mp4"
        complete = False
        try:
            with (
                video.open_source(upload) as reader,
                contextlib.closing(_tracked(engine, reader, upload, chosen, target)) as steps,
            ):
                for progress in steps:
                    keep(folder, upload, target)
                    yield progress
            complete = True
        finally:
            if not complete:
                for path in target.parent.iterdir():
                    path.unlink()
                target.parent.rmdir()


def _tracked(engine: Engine, reader: Reader, upload: Path, kind: str, target: Path) -> Generator[Progress, None, None]:
    """Yield the progress of an open video; the files are complete with the last one."""
    limits, decoder = engine.limits, engine.aligner.decoder
    rate = reader.fps or video.IMAGES_PER_SECOND
    progress = Progress(total=reader.count)
    _check_length(reader, progress.total or 0, (progress.total or 0) / rate, limits.video_seconds)
    if reader.size is not None and reader.size[0] * reader.size[1] > limits.pixels:
        height, width = reader.size
        most = f"{limits.pixels / 1e6:g} million pixels"
        raise VideoError(f"{reader.name}: expected frames of at most {most}, got {width} x {height}")
    tracker = Tracker(engine.aligner, max_faces=MAX_FACES)
    sound = upload if reader.has_audio else None
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(contextlib.closing(_threaded(reader)))
        writer = stack.enter_context(video.Writer(target, fps=rate, audio_from=sound, shortest=True))
        recorders = [stack.enter_context(Recorder.open(target.with_suffix(".jsonl")))]
        if decoder.has_mesh:
            recorders.append(stack.enter_context(open_take(target.with_suffix(".glb"), Performer(decoder), fps=rate)))
        for frame in frames:
            _check_length(reader, progress.done, frame.time, limits.video_seconds)
            with engine.turn():
                faces = tracker(frame)
            writer.write(Outputs(frame.image, faces, engine.aligner).draw(kind), frame.time)
            for recorder in recorders:
                recorder.add(frame, faces, lambda face: face.to_dict(decoder, dense=False))
            progress.done += 1
            progress.faces = len(faces)
            for face in faces:
                if face.track_id is not None:
                    progress.tracks[face.track_id] = progress.tracks.get(face.track_id, 0) + 1
            yield progress
    others = [recorder.path for recorder in recorders if recorder.path.is_file()]
    progress.files = [target, *others]
    yield progress


def _threaded(reader: Reader) -> Any:
    frames: Iterator[Frame] = video.threaded(reader.frames(), _QUEUE_LENGTH)
    return frames


def _check_length(reader: Reader, frames: int, seconds: float, limit: float) -> None:
    if seconds > limit or frames > limit * _MAX_FPS:
        most = f"{limit:g} seconds and {limit * _MAX_FPS:.0f} frames"
        raise VideoError(f"{reader.name}: expected at most {most}, got {seconds:.1f} seconds and {frames} frames")


def _check_container(upload: Path, limit: int) -> None:
    start = _content(upload, limit, 16)
    if not any(start[at:].startswith(mark) for at, mark in _CONTAINERS):
        raise VideoError(f"{upload}: not a video: expected MP4, MOV, WebM, MKV or AVI")


def _chosen(kinds: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = [kind for kind in kinds if kind not in known]
    if unknown or not kinds:
        raise PageError(f"Choose one or more of {', '.join(known)}.")
    return [kind for kind in known if kind in kinds]


def _content(upload: Path, limit: int, count: int = -1) -> bytes:
    """Read the bytes of an upload, or the first `count` of them."""
    if upload.stat().st_size > limit:
        raise PageError(f"The file is larger than {limit / 1e6:g} MB.")
    with upload.open("rb") as file:
        return file.read(count)


def keep(folder: Path, *files: Path) -> None:
    """Mark the folders of these files, in the folder of uploads and results, as new, because the files are in use.

    Examples
    --------
    >>> import os
    >>> from tddfa.serve.page.jobs import keep
    >>> (tmp / "upload").mkdir()
    >>> os.utime(tmp / "upload", (0, 0))
    >>> keep(tmp, tmp / "upload/a.mp4")
    >>> (tmp / "upload").stat().st_mtime > 0
    True
    """
    for file in files:
        if file.is_relative_to(folder) and file != folder:
            with contextlib.suppress(OSError):
                os.utime(folder / file.relative_to(folder).parts[0])


def _new_folder(folder: Path) -> Path:
    path = folder / secrets.token_hex(16)  # a name that nobody can guess
    path.mkdir()
    return path


def _stem(upload: Path) -> str:
    return safe_stem(upload.stem[:_MAX_STEM].lstrip(".-") or "upload")


@contextlib.contextmanager
def _one_sentence(upload: Path) -> Iterator[None]:
    """Convert an error of the library to one sentence without the path of the upload."""
    try:
        yield
    except PageError:
        raise
    except TddfaError as error:
        reason = str(error).removeprefix(f"{upload}: ").removeprefix(f"{NAME}: ").replace(str(upload), upload.name)
        raise PageError(f"{reason[:1].upper()}{reason[1:]}.") from error
