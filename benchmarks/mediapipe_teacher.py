"""Run MediaPipe's Face Landmarker on training crops and save its 478 points.

An environment of its own is needed, because MediaPipe 0.10.21 needs ``numpy<2``::

    python -m venv teacher && teacher/bin/pip install mediapipe==0.10.21
    teacher/bin/python benchmarks/mediapipe_teacher.py face_landmarker.task CROPS POINTS.npz

``tddfa.modelling.mediapipe`` reads the result. This script imports nothing of tddfa.
"""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import mediapipe
import numpy as np

SCALE = 3
"""Crops are enlarged this many times; the detector of faces prefers larger images."""


def main() -> None:
    """Parse the command line, detect and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path, help="face_landmarker.task")
    parser.add_argument("crops", type=Path, help="folder with labels.npz and crops-NN.tar")
    parser.add_argument("out", type=Path, help=".npz with rows (n,), points and flipped (n, 478, 3)")
    parser.add_argument("--every", type=int, default=4, help="use every k-th row of those suitable (default: 4)")
    parser.add_argument("--max-yaw", type=float, default=40.0, help="in degrees (default: 40)")
    arguments = parser.parse_args()
    rows = suitable_rows(arguments.crops / "labels.npz", arguments.max_yaw)[:: arguments.every]
    options = mediapipe.tasks.vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(arguments.task)), num_faces=1
    )
    kept, points, flipped = [], [], []
    with mediapipe.tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
        for row, image in crops(arguments.crops, set(rows.tolist())):
            plain = detected(landmarker, image)
            mirrored = detected(landmarker, np.ascontiguousarray(image[:, ::-1]))
            if plain is not None and mirrored is not None:
                kept.append(row)
                points.append(plain)
                flipped.append(mirrored)
    print(f"{len(kept)} of {len(rows)} crops have a face")  # noqa: T201 (a script's result)
    np.savez_compressed(
        arguments.out,
        rows=np.array(kept, dtype=np.int32),
        points=np.array(points, dtype=np.float32),
        flipped=np.array(flipped, dtype=np.float32),
    )


def suitable_rows(labels: Path, max_yaw: float) -> np.ndarray:
    """Rows (k,) of the training part with a face that turns less than `max_yaw` degrees to either side."""
    with np.load(labels) as arrays:
        camera, validation = arrays["camera"], arrays["validation"]
    forward = camera[:, :, 2]
    yaw = np.degrees(np.arctan2(forward[:, 0], forward[:, 2]))
    return np.flatnonzero(~validation & (np.abs(yaw) < max_yaw))


def crops(folder: Path, rows: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Row number and image (160, 160, 3), RGB, of the rows wanted."""
    for path in sorted(folder.glob("crops-*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                row = int(Path(member.name).stem)
                if row in rows:
                    data = np.frombuffer(archive.extractfile(member).read(), dtype=np.uint8)
                    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
                    yield row, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def detected(landmarker: mediapipe.tasks.vision.FaceLandmarker, image: np.ndarray) -> np.ndarray | None:
    """Points (478, 3) in px of `image`, pixel centres at whole numbers; z in px towards the viewer. None if no face."""
    height, width = image.shape[:2]
    large = cv2.resize(image, (width * SCALE, height * SCALE), interpolation=cv2.INTER_CUBIC)
    faces = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=large)).face_landmarks
    if not faces:
        return None
    points = np.array([[point.x, point.y, point.z] for point in faces[0]], dtype=np.float32)
    # the landmarker's coordinates are fractions of the image, from its outer edge; its z grows away from the viewer
    return points * np.float32([width, height, -width]) - np.float32([0.5, 0.5, 0])


if __name__ == "__main__":
    main()
