"""Measure the quality of UV textures: how well they reproduce photos, and how much background gets into them.

    python benchmarks/textures.py ../shared/eval/lfpw

- **Difference**: each photo's largest face is unwrapped, and the textured mesh is rendered back over the photo without
  light. The mean absolute difference, in grey levels, over the pixels whose normal has a cosine of more than 0.3 with
  the line of sight; the median over the first 100 photos by name of the last 30 %.
- **Leaks**: textured heads are rendered before a green background, in many poses; the mesh is moved by 1 % of the
  face's size in eight directions, as an alignment with an error would have it. The fraction of the texels that are
  green, in percent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds, interpolate, rasterize, vertex_normals
from tddfa import Aligner, Camera, FaceModel, Mesh
from tddfa._shared import image_io
from tddfa.surface.sampling import sample
from tddfa.surface.texture import texel_positions, unwrap

FACING = 0.3
SHIFT = 0.01
GREEN = (30, 235, 30)
POSES = ((0, 0, 0), (20, 0, 0), (-35, 10, 0), (50, -10, 15), (-70, 0, 0), (0, 25, 0), (0, -25, 10))


def difference(image: NDArray[np.uint8], mesh: Mesh, size: int) -> float:
    """Mean absolute difference between a photo and its own texture, rendered over it."""
    assert mesh.uv is not None
    texture = unwrap(image, mesh, size=size)
    height, width = image.shape[:2]
    raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, width, height), cull="back")
    attributes = np.column_stack([texel_positions(mesh.uv, size), vertex_normals(mesh.vertices, mesh.triangles)[:, 2]])
    values = interpolate(raster, mesh.triangles, attributes)
    facing = raster.mask & (values[..., 2] > FACING)
    rendered = sample(texture.image, values[..., :2][facing])
    return float(np.abs(rendered.astype(int) - image[facing]).mean())


def leaks(model: FaceModel, size: int) -> Iterator[float]:
    """Percent of green texels for each pose and each direction of the error."""
    assert model.uv is not None
    # skin, a little different everywhere, without green
    u, v = model.uv.T
    skin = np.column_stack([110 + 40 * u, 95 + 25 * np.sin(9 * v), 160 + 40 * v]).astype(np.float32)
    for pose in POSES:
        mesh = Mesh(
            Camera.from_pose(*pose, 20.0, (256.0, 256.0, 0.0)).project(model.mean), model.triangles, uv=model.uv
        )
        raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, 512, 512), cull="back")
        colors = interpolate(raster, mesh.triangles, skin)
        image = np.where(raster.mask[..., None], colors, np.float32(GREEN)).astype(np.uint8)
        low, high = bounds(mesh.vertices)
        reach = SHIFT * float((high - low)[:2].max())
        for angle in np.arange(8) * (np.pi / 4):
            error = np.array([np.cos(angle), np.sin(angle), 0]) * reach
            texture = unwrap(image, mesh.with_vertices(mesh.vertices + error.astype(np.float32)), size=size)
            blue, green, red = (texture.image[texture.mask > 0].astype(int)).T
            yield 100 * float((green - np.maximum(blue, red) > 20).mean())


def largest(aligner: Aligner, image: NDArray[np.uint8]) -> Mesh | None:
    """The mesh of the largest face."""
    faces = aligner(image)
    return aligner.decoder.mesh(max(faces, key=lambda face: np.ptp(face.landmarks[:, 1]))) if faces else None


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos, such as LFPW")
    parser.add_argument("--size", type=int, default=1024, help="side of the texture, px (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take every k-th of the 100 photos (default: %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    aligner = Aligner.load("open_mb05", device="cpu")
    green = list(leaks(aligner.face_model, arguments.size))
    sys.stdout.write(f"leaks: mean {np.mean(green):.3f} %, worst {max(green):.3f} % of the texels\n")
    names = sorted(path for path in arguments.photos.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    photos = names[round(0.7 * len(names)) :][:100][:: arguments.every]
    images = (image_io.read(path) for path in photos)
    found = ((image, largest(aligner, image)) for image in images)
    values = [difference(image, mesh, arguments.size) for image, mesh in found if mesh is not None]
    sys.stdout.write(
        f"difference: median {np.median(values):.2f}, 90 % {np.percentile(values, 90):.2f} grey levels, "
        f"{len(values)} of {len(photos)} photos\n"
    )


if __name__ == "__main__":
    main()
