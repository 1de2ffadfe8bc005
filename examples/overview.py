"""Write the image at the top of the README: a photo and every kind of output."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from tddfa import Aligner, draw
from tddfa._shared import image_io
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.outputs import KINDS, Options, Outputs, image_kinds

EXAMPLES = Path(__file__).parent
WIDTH, HEIGHT, GAP = 400, 440, 6


def rotated(outputs, yaw):
    """Draw the mesh with the colours of the photo, rotated by `yaw` degrees, on a plain background."""
    mesh = outputs.aligner.decoder.mesh(outputs.faces[0], outputs.image)
    flip = np.diag([1.0, -1.0, 1.0])
    center = mesh.vertices.mean(axis=0)
    vertices = (mesh.vertices - center) @ (flip @ rotation_from_euler(yaw, 0, 0) @ flip).T + center
    background = np.full_like(outputs.image, 245)
    return draw.mesh(background, [dataclasses.replace(mesh, vertices=vertices.astype(np.float32))], alpha=1.0)


def main():
    """Write examples/results/overview.jpg."""
    photo = image_io.read(EXAMPLES / "inputs/grace_hopper.jpg")
    photo = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    aligner = Aligner.load("open_mb05")
    outputs = Outputs(photo, aligner(photo), aligner, Options())
    points = outputs.faces[0].landmarks
    x, y = ((points.min(axis=0) + points.max(axis=0)) / 2)[:2]
    half = 0.95 * float(np.ptp(points[:, 1]))
    top, left = int(max(y - 1.25 * half, 0)), int(max(x - half * WIDTH / HEIGHT, 0))
    side = int(2 * half)

    images = [("photo", photo), *((kind, outputs.draw(kind)) for kind in image_kinds())]
    images += [(", ".join(kind for kind in KINDS if kind not in image_kinds()), rotated(outputs, 40))]
    tiles = []
    for name, image in images:
        if name != "uv_tex":
            image = image[top : top + side, left : left + int(side * WIDTH / HEIGHT)]
            tile = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        else:
            tile = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            tile[20 : 20 + WIDTH] = cv2.resize(image, (WIDTH, WIDTH), interpolation=cv2.INTER_AREA)
        cv2.rectangle(tile, (0, 0), (13 * len(name) + 14, 34), (30, 26, 24), -1)
        cv2.putText(tile, name, (9, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (245, 245, 245), 1, cv2.LINE_AA)
        tiles.append(cv2.copyMakeBorder(tile, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    rows = [np.hstack(tiles[start : start + 5]) for start in range(0, len(tiles), 5)]
    image_io.write(EXAMPLES / "results/overview.jpg", np.vstack(rows)[:-GAP, :-GAP])


if __name__ == "__main__":
    main()
