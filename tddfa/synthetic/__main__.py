"""``python -m tddfa.synthetic SCENE OUT``: write a scene to a video or a folder of images, with its ground truth."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.aligner import Aligner
from tddfa.synthetic import SCENES, GroundTruth, Head, frames

_VIDEOS = (".mp4", ".mov")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tddfa.synthetic", description=__doc__, allow_abbrev=False)
    parser.add_argument("scene", choices=sorted(SCENES), metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("out", type=Path, help=f"a video ({', '.join(_VIDEOS)}), or a folder")
    parser.add_argument("--frames", type=int, default=300, help="number of frames (%(default)s)")
    parser.add_argument("--size", type=_size, default=(720, 1280), metavar="WxH", help="px (1280x720)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames per second (%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="seed of heads, backgrounds and noise (%(default)s)")
    parser.add_argument("--photo", type=Path, action="append", default=[], help="make a head from it; may be repeated")
    parser.add_argument("--background", type=Path, help="image for the background")
    parser.add_argument("--noise", type=float, default=1.5, help="standard deviation, grey levels (%(default)g)")
    parser.add_argument(
        "--format", choices=("png", "jpg"), default="png", help="of the images in a folder (%(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        scene = SCENES[options.scene]
        heads = _heads(options.photo, scene.people) if options.photo else None
        background = None if options.background is None else image_io.read(options.background)
        played = frames(
            scene,
            options.frames,
            options.size,
            options.fps,
            options.seed,
            heads=heads,
            background=background,
            noise=options.noise,
        )
        targets: list[list[GroundTruth | None]] = []
        images = _keeping(played, targets)
        if options.out.suffix.lower() in _VIDEOS:
            _write_video(options.out, images, options.fps)
            target_path = options.out.with_suffix(".npz")
        else:
            for index, image in enumerate(images):
                image_io.write(options.out / f"{index:06d}.{options.format}", image)
            target_path = options.out / "ground_truth.npz"
        write_atomic(target_path, ground_truth_bytes(targets, scene.people, options.fps, options.size))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"tddfa.synthetic: {error}\n")
        return 1
    sys.stdout.write(f"{options.out}: {len(targets)} frames; ground truth in {target_path}\n")
    return 0


def ground_truth_bytes(
    targets: Sequence[Sequence[GroundTruth | None]], people: int, fps: float, size: tuple[int, int]
) -> bytes:
    """Encode the ground truth of n frames with p people as ``.npz``; zeros for people who are not `present`.

    Keys: ``present (n, p)``, ``visible (n, p)``, ``camera (n, p, 3, 4)``, ``pose (n, p, 3)`` (yaw, pitch, roll in
    degrees), ``landmarks (n, p, 68, 3)``, ``shape (p, s)``, ``expression (n, p, e)``, ``fps`` and ``size`` (height,
    width).
    """
    n = len(targets)
    known = [(i, k, target) for i, row in enumerate(targets) for k, target in enumerate(row) if target is not None]
    shapes, expressions = (len(known[0][2].shape), len(known[0][2].expression)) if known else (0, 0)
    arrays: dict[str, NDArray[np.generic]] = {
        "present": np.zeros((n, people), dtype=np.bool_),
        "visible": np.zeros((n, people), dtype=np.float32),
        "camera": np.zeros((n, people, 3, 4), dtype=np.float32),
        "pose": np.zeros((n, people, 3), dtype=np.float32),
        "landmarks": np.zeros((n, people, 68, 3), dtype=np.float32),
        "shape": np.zeros((people, shapes), dtype=np.float32),
        "expression": np.zeros((n, people, expressions), dtype=np.float32),
        "fps": np.array(fps),
        "size": np.array(size),
    }
    for i, k, target in known:
        arrays["present"][i, k] = True
        arrays["visible"][i, k] = target.visible
        arrays["camera"][i, k] = target.camera.matrix
        arrays["pose"][i, k] = target.camera.euler_degrees()
        arrays["landmarks"][i, k] = target.landmarks
        arrays["shape"][k] = target.shape
        arrays["expression"][i, k] = target.expression
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, as 1280x720, got {text!r}") from None
    return height, width


def _heads(photos: Sequence[Path], people: int) -> list[Head]:
    """One head per person, from the photos in turn."""
    aligner = Aligner.load("open_mb05")
    heads = [Head.from_photo(image_io.read(photo), aligner) for photo in photos]
    return [heads[k % len(heads)] for k in range(people)]


def _keeping(
    played: Iterable[tuple[NDArray[np.uint8], list[GroundTruth | None]]], targets: list[list[GroundTruth | None]]
) -> Iterator[NDArray[np.uint8]]:
    for image, row in played:
        targets.append(row)
        yield image


def _write_video(path: Path, images: Iterable[NDArray[np.uint8]], fps: float) -> None:
    from tddfa.video import Writer

    with Writer(path, fps=fps) as writer:
        for image in images:
            writer.write(image)


if __name__ == "__main__":
    sys.exit(main())
