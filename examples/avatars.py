"""Draw the images of docs/avatars.md: a head from a photo in other poses, and a video beside its animated head."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from Sim3DR import interpolate, rasterize, shade, vertex_normals
from tddfa import Aligner, Camera, Tracker, export
from tddfa.avatar import Performer, open_take
from tddfa.export.gltf import Gltf
from tddfa.export.rig import morph_targets
from tddfa.surface.sampling import sample
from tddfa.surface.texture import texel_positions, unwrap
from tddfa.synthetic import Head, State, render
from tddfa.synthetic.head import mended
from tddfa.video import Frame

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PHOTO = ROOT / "examples/inputs/astronaut.jpg"
PAPER = (255, 255, 255)
SIZE, SUPERSAMPLE, FPS = 240, 2, 12
GIF_SIZE, GIF_COLORS = (320, 160), 48
POSES = {
    "as in the photo": {},
    "jawOpen, browInnerUp, eyeWide": {"jawOpen": 0.7, "browInnerUp": 1.0, "eyeWideLeft": 1.0, "eyeWideRight": 1.0},
    "eyeBlinkLeft, mouthSmile": {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.9, "mouthSmileRight": 0.9},
    "mouthPucker, browDown": {"mouthPucker": 0.9, "browDownLeft": 1.0, "browDownRight": 1.0},
    "mouthFrown, browOuterUp, eyeLook": {
        "mouthFrownLeft": 1.0, "mouthFrownRight": 1.0, "browOuterUpLeft": 0.8, "eyeLookInLeft": 0.8,
        "eyeLookOutRight": 0.8,
    },
}  # fmt: skip
"""Weights that replace those of the photo."""


def drawn(vertices, triangles, uv, texture, camera):
    """A textured head at vertices (n, 3), m, lit slightly from the front; BGR, (SIZE, SIZE, 3)."""
    side = SIZE * SUPERSAMPLE
    points = camera.project(vertices.astype(np.float32)) * np.float32(SUPERSAMPLE)
    raster = rasterize(points, triangles, (0, 0, side, side))
    at = interpolate(raster, triangles, texel_positions(uv, len(texture)))
    light = shade(vertex_normals(points, triangles), ambient=0.75, directional=0.3, specular=0).diffuse
    lit = sample(texture, at) * interpolate(raster, triangles, light[:, None])
    image = np.where((raster.triangle_id >= 0)[..., None], lit, PAPER).clip(0, 255).astype(np.uint8)
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def front(turned=0.0):
    """A camera in front of a head, in px of a tile; `turned` is a yaw in degrees."""
    return Camera.from_pose(turned, 0, 0, 1000 * SIZE / 240, (SIZE / 2, SIZE * 0.5, 0))


def poses(aligner):
    """One face, as the photo shows it and in four other expressions."""
    photo = cv2.imread(str(PHOTO))
    faces = aligner(photo)
    (rig,) = export.rigs(faces, aligner.decoder)
    texture = mended(unwrap(photo, aligner.decoder.mesh(faces[0]), size=1024), aligner.face_model)
    tiles = []
    for name, changes in POSES.items():
        weights = rig.weights.copy()
        if changes:
            weights[:] = 0
        for shape, weight in changes.items():
            weights[rig.targets.names.index(shape)] = weight
        vertices = rig.vertices + rig.targets.displacement(weights)
        tile = drawn(vertices, rig.triangles, rig.uv, texture, front(-12 if changes else 0))
        size = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.33, 1)[0][0]
        cv2.putText(
            tile, name, ((SIZE - size) // 2, SIZE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (40, 36, 32), 1, cv2.LINE_AA
        )
        tiles.append(tile)
    cv2.imwrite(str(DOCS / "avatar_poses.jpg"), np.hstack(tiles), [cv2.IMWRITE_JPEG_QUALITY, 90])


def performance():
    """Yaw, pitch and expression of a rendered head over 3 s."""
    for index in range(3 * FPS):
        t = index / FPS
        speech = max(0.0, np.sin(2 * np.pi * t * 1.4)) * (0.6 < t < 2.2)
        blink = max(0.0, 1 - abs(t - 0.4) / 0.14) + max(0.0, 1 - abs(t - 2.5) / 0.14)
        yield index, t, State(
            yaw=22 * np.sin(2 * np.pi * t / 3), pitch=6 * np.sin(4 * np.pi * t / 3), size=130, x=120, y=118,
            expression={"jawOpen": 0.7 * speech, "eyeBlink": min(blink, 1.0)},
        )  # fmt: skip


def accessor(gltf, index):
    """The floats of an accessor."""
    described = gltf.tree["accessors"][index]
    view = gltf.tree["bufferViews"][described["bufferView"]]
    return np.frombuffer(gltf.blob, "<f4", view["byteLength"] // 4, view["byteOffset"]).reshape(described["count"], -1)


def animation(aligner):
    """A video of a rendered head, and beside it the animated head that was made from the video."""
    head = Head.from_photo(cv2.imread(str(PHOTO)), aligner)
    background = np.full((SIZE, SIZE, 3), (214, 220, 224), np.uint8)
    frames = [
        (Frame(render((SIZE, SIZE), [(head, state)], background)[0], index, time))
        for index, time, state in performance()
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.glb"
        with open_take(path, Performer(aligner.decoder)) as take:
            for frame, faces in Tracker(aligner).run(frames):
                take.add(frame, faces)
        gltf = Gltf.decode(path.read_bytes())
    (channels,) = (item["channels"] for item in gltf.tree["animations"])
    samplers = gltf.tree["animations"][0]["samplers"]
    curves = {channel["target"]["path"]: accessor(gltf, samplers[channel["sampler"]]["output"]) for channel in channels}
    model = aligner.decoder.face_model
    targets = morph_targets(model)
    rest = accessor(gltf, gltf.tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    view = gltf.tree["bufferViews"][gltf.tree["images"][0]["bufferView"]]
    data = gltf.blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    texture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    images = []
    weights = curves["weights"].reshape(len(frames), -1)
    for frame, (x, y, z, w), weight in zip(frames, curves["rotation"], weights, strict=True):
        vertices = rest + targets.displacement(weight)
        # v + 2 q x (q x v + w v)
        axis = np.array([x, y, z])
        vertices = vertices + 2 * np.cross(axis, np.cross(axis, vertices) + w * vertices)
        image = np.hstack([frame.image, drawn(vertices, model.triangles, model.uv, texture, front())])
        small = cv2.resize(image, GIF_SIZE, interpolation=cv2.INTER_AREA)[:, :, ::-1]
        images.append(Image.fromarray(small).quantize(GIF_COLORS, dither=Image.Dither.NONE))
    target, rest_of = DOCS / "avatar_animated.gif", images[1:]
    images[0].save(target, save_all=True, append_images=rest_of, duration=1000 // FPS, loop=0, optimize=True)


if __name__ == "__main__":
    default = Aligner.load("open_mb05", device="cpu")
    poses(default)
    animation(default)
