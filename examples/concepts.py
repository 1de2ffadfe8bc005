"""Draw the images of the concept pages in docs/: frames and angles, landmark conventions, the face model, scores."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from landmarks_and_expressions import GROUP_COLORS, INK, PAPER, SUPERSAMPLE, canvas, materials, view
from PIL import Image, ImageDraw, ImageFont

from tddfa import Aligner, Camera, Detections, Mesh, draw, landmarks68
from tddfa._shared import image_io

DOCS = Path(__file__).parents[1] / "docs"
CAPTION = 22
POSES = (
    ("0, 0, 0", (0, 0, 0)),
    ("yaw 35", (35, 0, 0)), ("yaw -35", (-35, 0, 0)),
    ("pitch 25", (0, 25, 0)), ("pitch -25", (0, -25, 0)),
    ("roll 25", (0, 0, 25)), ("roll -25", (0, 0, -25)),
)  # fmt: skip
AXES = (("x", (200, 30, 40)), ("y", (20, 130, 50)), ("z", (30, 70, 210)))
SHAPES, STRENGTH = 4, 2.5
CLAY = (0.8, 0.78, 0.76)


def surface(model, size, camera, *, shape=None, colors=None):
    """A head without an expression in an image of `size` (width, height), BGR; `camera` is for the larger image."""
    weights = np.zeros(model.shape_count, np.float32) if shape is None else shape
    vertices = model.vertices(weights, np.zeros(model.expression_count, np.float32))
    colors = np.full((len(vertices), 3), CLAY) if colors is None else colors
    mesh = Mesh(camera.project(vertices), model.triangles, colors.astype(np.float32), shade=model.shade)
    width, height = (SUPERSAMPLE * side for side in size)
    drawn = draw.mesh(np.full((height, width, 3), 255, np.uint8), [mesh], alpha=1.0)
    return cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)


def tiles(panels, size, columns):
    """Captioned images of `size` in rows, RGB."""
    width, height = size
    rows = -(-len(panels) // columns)
    image = Image.new("RGB", (columns * width, rows * (height + CAPTION)), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    for index, (caption, panel) in enumerate(panels):
        x, y = index % columns * width, index // columns * (height + CAPTION)
        image.paste(panel if isinstance(panel, Image.Image) else canvas(panel), (x, y))
        pen.text((x + width / 2, y + height + CAPTION / 2), caption, INK, font, anchor="mm")
    return np.asarray(image)[..., ::-1]


def draw_frames(model):
    """The mean head at several poses, with the axes of the model."""
    size, pixels_per_cm, length = (176, 200), 6.6, 6.5
    panels = []
    for caption, angles in POSES:
        large = Camera.from_pose(*angles, pixels_per_cm * SUPERSAMPLE, (*(SUPERSAMPLE * side / 2 for side in size), 0))
        small = Camera.from_pose(*angles, pixels_per_cm, (size[0] / 2, size[1] / 2, 0))
        image = canvas(surface(model, size, large, colors=materials(model)))
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
        tip = model.mean[model.landmark_triangles[30, 0]]
        ends = small.project(np.concatenate([tip[None], tip + length * np.eye(3)]).astype(np.float32))
        # far axes first
        for axis in np.argsort(ends[1:, 2]):
            name, color = AXES[axis]
            start, end = ends[0, :2], ends[1 + axis, :2]
            pen.line([tuple(start), tuple(end)], fill=color, width=3)
            pen.text(tuple(end), name, color, font, anchor="mm", stroke_width=2, stroke_fill=PAPER)
        panels.append((caption, image))
    return tiles(panels, size, 7)


def draw_conventions(model):
    """The mean head with the landmarks of 300-W as circles, and lines to those of 300W-LP."""
    size, pixels_per_cm, centre = (760, 740), 40, (0, -1.0)
    image = canvas(surface(model, size, view(size, pixels_per_cm, centre, SUPERSAMPLE), colors=materials(model)))
    zeros = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    points = model.landmarks(*zeros)
    camera, pen = view(size, pixels_per_cm, centre), ImageDraw.Draw(image)
    first = camera.project(points)[:, :2]
    second = camera.project(points + model.landmark_offsets["300w-lp"])[:, :2]
    colors = {part: GROUP_COLORS[group] for group, parts in landmarks68.GROUPS.items() for part in parts}
    for part, rows in landmarks68.PARTS.items():
        for start, end in zip(first[rows], second[rows], strict=True):
            pen.line([tuple(start), tuple(end)], fill=colors[part], width=3)
            x, y = start
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=PAPER, outline=colors[part], width=2)
    return np.asarray(image)[..., ::-1]


def draw_face_model(model):
    """The mean head, shapes at two strengths, materials, and the UV map."""
    size, pixels_per_cm, centre = (170, 190), 8.5, (0, -1.2)
    camera = view(size, pixels_per_cm, centre, SUPERSAMPLE)
    panels = [("mean", surface(model, size, camera))]
    for number in range(SHAPES):
        for strength in (-STRENGTH, STRENGTH):
            shape = np.zeros(model.shape_count, np.float32)
            shape[number] = strength
            panels.append((f"shape {number}: {strength:+}", surface(model, size, camera, shape=shape)))
    panels.append(("materials", surface(model, size, camera, colors=materials(model))))
    panels += [("UV map", uv_map(model, size)), ("edges", edges(model, size, camera))]
    return tiles(panels, size, 6)


def uv_map(model, size):
    """Materials on the UV map."""
    width, height = (SUPERSAMPLE * side for side in size)
    side = min(width, height)
    image = np.full((height, width, 3), 255, np.uint8)
    corners = (model.uv * (side - 1) * (1, -1) + (0, side - 1))[model.triangles]
    colors = materials(model)[model.triangles].mean(axis=1)[:, ::-1] * 255
    for triangle, color in zip(np.rint(corners * 16).astype(np.int32), colors.tolist(), strict=True):
        cv2.fillConvexPoly(image, triangle, color, shift=4)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def edges(model, size, camera):
    """The edges of the triangles that face the camera."""
    width, height = (SUPERSAMPLE * side for side in size)
    image = np.full((height, width, 3), 255, np.uint8)
    corners = camera.project(model.mean)[model.triangles]
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0
    shown = corners[turned]
    order = np.argsort(shown[:, :, 2].mean(axis=1))
    for triangle in np.rint(shown[order, :, :2]).astype(np.int32):
        cv2.fillConvexPoly(image, triangle, PAPER)
        cv2.polylines(image, [triangle], True, (150, 120, 90), 1, cv2.LINE_AA)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def draw_scores(aligner):
    """The boxes of the detector, and the faces that pass the face score, with these scores."""
    image = image_io.read(DOCS.parent / "examples/inputs/two_people.jpg")
    found = aligner.detector(image)
    faces = aligner(image)
    kept = Detections(xyxy=[face.box for face in faces], scores=[face.score for face in faces])
    panels = []
    for caption, shown in (("score of the detector, 0.25 or more", found), ("face score, 0.5 or more", kept)):
        drawn = draw.boxes(image, replace(shown, points=None, rotations=None))
        half = (image.shape[1] // 2, image.shape[0] // 2)
        panels.append((caption, cv2.resize(drawn, half, interpolation=cv2.INTER_AREA)))
    return tiles(panels, half, 2)


DRAWINGS = {"frames": draw_frames, "conventions": draw_conventions, "face_model": draw_face_model}
"""Function that draws each image, by the name of its file."""


def main():
    """Write the images of the concept pages."""
    aligner = Aligner.load("open_mb05", device="cpu")
    images = {name: drawing(aligner.face_model) for name, drawing in DRAWINGS.items()}
    for name, image in (*images.items(), ("scores", draw_scores(aligner))):
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 84])
        assert done
        image_io.write_atomic(DOCS / f"{name}.jpg", data.tobytes())


if __name__ == "__main__":
    main()
