"""Draw the images of docs/landmarks_and_expressions.md: the 68 landmarks, and the 55 expressions."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tddfa import Camera, Decoder, Mesh, draw, landmarks68
from tddfa._shared import image_io

DOCS = Path(__file__).parents[1] / "docs"
PAPER, INK = (255, 255, 255), (40, 36, 32)
# RGB by material of the face model
COLORS = {
    "skin": (0.86, 0.74, 0.67), "lip": (0.78, 0.52, 0.49), "sclera": (0.95, 0.95, 0.94), "iris": (0.33, 0.45, 0.55),
    "pupil": (0.05, 0.05, 0.06), "inner_mouth": (0.45, 0.2, 0.2), "socket": (0.45, 0.3, 0.28),
}  # fmt: skip
MOVED = np.array((0.93, 0.42, 0.1))
GROUP_COLORS = {
    "jaw": (40, 120, 60), "brows": (150, 75, 20), "nose": (150, 40, 130), "eyes": (20, 90, 190), "lips": (190, 30, 45),
}  # fmt: skip
COLUMNS, TILE, CAPTION = 8, (134, 150), 19
TILE_VIEW = {"pixels_per_cm": 7, "centre": (0, -1.2)}
SUPERSAMPLE = 3
# it moves the lips of an open mouth, and is shown with one
WITH = {"mouthClose": {"jawOpen": 1.0}}


def rendered(model, size, weights, *, pixels_per_cm, centre, tint=True):
    """The mean head with expression weights by name, in the middle of an image of `size` (width, height), BGR.

    `centre` (x, y, cm) is the point of the head in the middle. With `tint`, skin that moves is orange.
    """
    shape = np.zeros(model.shape_count, np.float32)
    expression = np.array([weights.get(name, 0) for name in model.expression_names], np.float32)
    neutral, vertices = model.vertices(shape, np.zeros_like(expression)), model.vertices(shape, expression)
    colors = materials(model)
    if tint:
        distance = np.linalg.norm(vertices - neutral, axis=1)
        amount = 0.85 * np.clip(distance / max(distance.max(), 0.3), 0, 1)[:, None]
        skin = np.isin(model.material, [model.material_names.index(name) for name in ("skin", "lip")])[:, None]
        colors = np.where(skin, colors + amount * (MOVED - colors), colors)
    camera = view(size, pixels_per_cm, centre, SUPERSAMPLE)
    surface = Mesh(camera.project(vertices), model.triangles, colors.astype(np.float32), shade=model.shade)
    width, height = (SUPERSAMPLE * side for side in size)
    drawn = draw.mesh(np.full((height, width, 3), 255, np.uint8), [surface], alpha=1.0)
    return cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)


def materials(model):
    """Colour of each vertex, RGB (n, 3); iris and pupil have round edges."""
    colors = np.array([COLORS[name] for name in model.material_names])[model.material]
    index = {name: number for number, name in enumerate(model.material_names)}
    eyeball = np.isin(model.material, [index[name] for name in ("sclera", "iris", "pupil")])
    directions = model.mean[:, None] - model.eye_centres  # (n, 2, 3)
    eye = np.linalg.norm(directions, axis=2).argmin(axis=1)
    direction = directions[np.arange(len(eye)), eye]
    cosine = np.einsum("ij,ij->i", direction, model.gaze_axes[eye]) / np.linalg.norm(direction, axis=1)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    for inner, outer in (("iris", "sclera"), ("pupil", "iris")):
        edge = angle[model.material == index[inner]].max()
        near = eyeball & (np.abs(angle - edge) < 3)
        amount = np.clip((angle[near, None] - edge) / 3 + 0.5, 0, 1)
        colors[near] = (1 - amount) * COLORS[inner] + amount * COLORS[outer]
    return colors


def view(size, pixels_per_cm, centre, factor=1):
    """Camera that looks at the head from the front."""
    scale = pixels_per_cm * factor
    x, y = (factor * side / 2 - 0.5 for side in size)
    return Camera.from_pose(0, 0, 0, scale, (x - scale * centre[0], y + scale * centre[1], 0))


def canvas(image):
    """A Pillow image to draw on, from BGR."""
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))


def offsets(points):
    """Direction (68, 2) from each landmark to its number."""
    out = np.zeros((68, 2))
    middle = points[27:36].mean(axis=0)
    out[landmarks68.JAW] = points[landmarks68.JAW] - middle
    out[landmarks68.BROWS] = out[landmarks68.PARTS["nose_tip"]] = (0, -1)
    out[landmarks68.PARTS["nose_tip"]] = (0, 1)
    out[landmarks68.PARTS["nose_bridge"]] = (1, 0)
    for part in ("right_eye", "left_eye", "outer_lips"):
        out[landmarks68.PARTS[part]] = points[landmarks68.PARTS[part]] - points[landmarks68.PARTS[part]].mean(axis=0)
    inner = landmarks68.PARTS["inner_lips"]
    out[inner] = (points[inner].mean(axis=0) - points[inner]) * (0.3, 1)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def draw_landmarks(model):
    """The head with lines along its parts, and the numbers of the 68 landmarks."""
    size, pixels_per_cm, centre = (900, 870), 50, (0, -1.0)
    weights = {"jawOpen": 0.4, "eyeWideLeft": 0.5, "eyeWideRight": 0.5}
    image = canvas(rendered(model, size, weights, pixels_per_cm=pixels_per_cm, centre=centre, tint=False))
    shape, expression = np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)
    for name, weight in weights.items():
        expression[model.expression_names.index(name)] = weight
    points = view(size, pixels_per_cm, centre).project(model.landmarks(shape, expression))[:, :2]
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=17)
    for group, color in GROUP_COLORS.items():
        for line in landmarks68.contours(points, group).values():
            pen.line([tuple(point) for point in line], fill=color, width=2)
    colors = {part: GROUP_COLORS[group] for group, parts in landmarks68.GROUPS.items() for part in parts}
    directions = offsets(points)
    for part, rows in landmarks68.PARTS.items():
        for number in range(rows.start, rows.stop):
            x, y = points[number]
            pen.ellipse((x - 3.5, y - 3.5, x + 3.5, y + 3.5), fill=colors[part], outline=PAPER)
            x, y = points[number] + 16 * directions[number]
            pen.text((x, y), str(number), colors[part], font, anchor="mm", stroke_width=2, stroke_fill=PAPER)
    return np.asarray(image)[..., ::-1]


def draw_expressions(model):
    """A grid of the neutral head and of each expression at weight 1."""
    names = [None, *model.expression_names]
    width, height = TILE
    rows = -(-len(names) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * width, rows * (height + CAPTION)), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    for index, name in enumerate(names):
        x, y = index % COLUMNS * width, index // COLUMNS * (height + CAPTION)
        weights = {} if name is None else {name: 1.0, **WITH.get(name, {})}
        tile = rendered(model, TILE, weights, **TILE_VIEW)
        image.paste(canvas(tile), (x, y))
        caption = " + ".join(weights) or "neutral"
        pen.text((x + width / 2, y + height + CAPTION / 2), caption, INK, font, anchor="mm")
    return np.asarray(image)[..., ::-1]


def main():
    """Write docs/landmarks.jpg and docs/expressions.jpg."""
    model = Decoder.load("open_mb05").face_model
    for name, image in (("landmarks", draw_landmarks(model)), ("expressions", draw_expressions(model))):
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])
        assert done
        image_io.write_atomic(DOCS / f"{name}.jpg", data.tobytes())


if __name__ == "__main__":
    main()
