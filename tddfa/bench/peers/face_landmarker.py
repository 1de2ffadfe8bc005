"""MediaPipe's Face Landmarker in its own interpreter: image to 478 points and 52 blendshapes.

`tddfa.bench.face_landmarker` passes the text of this file to that interpreter. So it imports nothing from this package,
and needs only Python 3.8 or later and mediapipe. Messages are lines of JSON. The first names the file of the model.
Then each ``{"image": path}`` is answered by ``{"points": [[x, y, z], …], "blendshapes": {name: weight}}`` of the face
that fills most of the image, px with pixel centres at whole numbers; ``{"points": null}`` without a face; or
``{"error": reason}``.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

# Of several faces in a photo, the largest is meant.
MAX_FACES = 4


def describe(error: Exception) -> str:
    """Describe an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class Landmarker:
    """The task for single images."""

    def __init__(self, model: str) -> None:
        self.mediapipe = import_module("mediapipe")
        tasks = self.mediapipe.tasks
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=model),
            output_face_blendshapes=True,
            num_faces=MAX_FACES,
        )
        self.landmarker = tasks.vision.FaceLandmarker.create_from_options(options)

    def __call__(self, path: str) -> dict[str, Any]:
        """Points and blendshapes of the largest face of an image file."""
        image = self.mediapipe.Image.create_from_file(path)
        found = self.landmarker.detect(image)
        faces = [
            [(image.width * point.x - 0.5, image.height * point.y - 0.5, -image.width * point.z) for point in landmarks]
            for landmarks in found.face_landmarks
        ]
        if not faces:
            return {"points": None}

        def area(face: list[tuple[float, float, float]]) -> float:
            columns = [[point[axis] for point in face] for axis in (0, 1)]
            return (max(columns[0]) - min(columns[0])) * (max(columns[1]) - min(columns[1]))

        largest = max(range(len(faces)), key=lambda k: area(faces[k]))
        weights = {shape.category_name: shape.score for shape in found.face_blendshapes[largest]}
        return {"points": faces[largest], "blendshapes": weights}


def main() -> None:
    """Answer requests until the input ends."""
    # stdout is for the answers, so the output of mediapipe goes to stderr
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(message)}\n")
        answers.flush()

    try:
        landmarker = Landmarker(json.loads(sys.stdin.readline())["model"])
    except Exception as error:  # any error of mediapipe is reported
        answer({"error": describe(error)})
        return
    answer({"version": str(landmarker.mediapipe.__version__)})
    for line in sys.stdin:
        try:
            answer(landmarker(json.loads(line)["image"]))
        except Exception as error:
            answer({"error": describe(error)})


if __name__ == "__main__":
    main()
