"""Write docs/gallery.md and its images: every kind of output on the example photos and on rendered heads."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tddfa import Aligner, Tracker, draw
from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.face_crops import frontal_view
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.outputs import Options, Outputs, image_kinds
from tddfa.surface.sampling import sample
from tddfa.surface.texture import unwrap
from tddfa.synthetic import Head, State, backdrop, render
from tddfa.video import frames

EXAMPLES = Path(__file__).parent
DOCS = EXAMPLES.parent / "docs"
PAPER, INK, PLATE = (255, 255, 255), (245, 245, 245), (30, 26, 24)
TILE, WIDE_TILE, GAP = (220, 240), (369, 200), 4
GROUP = (  # seed or photo, x, y, size, yaw, pitch, roll, expression
    (4, 110, 250, 128, 38, 4, 3, {"mouthSmile": 0.7}),
    ("grace_hopper", 300, 215, 132, 18, -4, -4, {"mouthSmile": 0.3}),
    (8, 480, 265, 128, -8, 3, 2, {"jawOpen": 0.4, "mouthSmile": 0.5}),
    (2, 655, 210, 124, 5, -8, 0, {"mouthSmile": 0.4}),
    ("astronaut", 830, 255, 130, -26, 2, 5, {"mouthSmile": 0.2}),
    (9, 1010, 225, 132, -52, -5, -3, {"browInnerUp": 0.5}),
)
STEP = 8  # of the frames of the video
CASES = (  # caption, seed or photo, yaw, pitch, roll, expression, mask
    ("turned", "astronaut", 40, -6, 5, {}, False),
    ("profile", 6, -80, 0, 0, {}, False),
    ("closed eyes", 9, 10, 5, 0, {"eyeBlink": 1.0}, False),
    ("mask", 11, -20, 0, -4, {}, True),
    ("open mouth", 4, 25, 0, 0, {"jawOpen": 0.7}, False),
    ("dark skin", 8, -30, 4, 0, {"mouthSmile": 0.5}, False),
)


def head_of(aligner, who):
    """A head made from an example photo, or a procedural one."""
    if isinstance(who, str):
        return Head.from_photo(image_io.read(EXAMPLES / f"inputs/{who}.jpg"), aligner)
    return Head.procedural(aligner.face_model, seed=who, size=512)


def group(aligner):
    """Six people before a wall."""
    size = (420, 1120)
    people = [
        (head_of(aligner, who), State(yaw=yaw, pitch=pitch, roll=roll, size=px, x=x, y=y, expression=expression))
        for who, x, y, px, yaw, pitch, roll, expression in GROUP
    ]
    return render(size, people, backdrop(size, seed=5))[0]


def case(aligner, who, yaw, pitch, roll, expression, masked):
    """One rendered head; with a face mask if asked for."""
    size = (300, 275)
    state = State(yaw=yaw, pitch=pitch, roll=roll, size=150, x=137, y=150, expression=expression)
    image, (target,) = render(size, [(head_of(aligner, who), state)], backdrop(size, seed=7))
    if masked:
        points = target.landmarks[[*range(2, 15), 28], :2]
        outline = np.rint(cv2.convexHull(points) * 16).astype(np.int32)
        cv2.fillPoly(image, [outline], (214, 206, 190), cv2.LINE_AA, 4)
        for fraction in (0.35, 0.55, 0.75):
            ends = [
                points[1] * (1 - fraction) + points[5] * fraction,
                points[11] * (1 - fraction) + points[7] * fraction,
            ]
            cv2.line(image, *np.rint(np.array(ends) * 16).astype(int).tolist(), (190, 182, 168), 1, cv2.LINE_AA, 4)
    return image


def labelled(image, name, size=TILE):
    """A tile of this size (width, height) with a name; the image is fitted into it."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (tile.shape[0] - small.shape[0]) // 2, (tile.shape[1] - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    if name:
        (width, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        cv2.rectangle(tile, (0, 0), (width + 9, 19), PLATE, -1)
        cv2.putText(tile, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return tile


def grid(tiles, columns):
    """Tiles of one size in rows, with gaps between them."""
    framed = [cv2.copyMakeBorder(tile, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=PAPER) for tile in tiles]
    framed += [np.full_like(framed[0], 255)] * (-len(framed) % columns)
    rows = [np.hstack(framed[start : start + columns]) for start in range(0, len(framed), columns)]
    return np.vstack(rows)[:-GAP, :-GAP]


def around(image, faces, tile=TILE, margin=0.75):
    """Slices of the part of an image that shows some faces, in the proportions of a tile."""
    points = np.concatenate([face.landmarks[:, :2] for face in faces])
    low, high = points.min(axis=0), points.max(axis=0)
    middle, height = (low + high) / 2, max(high[1] - low[1], (high[0] - low[0]) * tile[1] / tile[0]) * (1 + margin)
    height = min(height, image.shape[0], image.shape[1] * tile[1] / tile[0])
    width = height * tile[0] / tile[1]
    left = int(np.clip(middle[0] - width / 2, 0, image.shape[1] - width))
    top = int(np.clip(middle[1] - 0.55 * height, 0, image.shape[0] - height))
    return slice(top, top + int(height)), slice(left, left + int(width))


def every_kind(aligner, image):
    """The photo and every kind of image."""
    # twice as large, so that lines are fine
    photo = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    faces = aligner(photo)
    tile = TILE if len(faces) == 1 else WIDE_TILE
    outputs, part = Outputs(photo, faces, aligner, Options()), around(photo, faces, tile)
    tiles = [labelled(photo[part], "photo", tile)]
    for kind, row in image_kinds().items():
        if row.missing(aligner) is not None:  # another model draws it
            continue
        drawn = outputs.draw(kind)
        tiles.append(labelled(drawn if kind == "uv_tex" else drawn[part], kind, tile))
    return grid(tiles, 1120 // tile[0])


def rendered_cases(aligner):
    """Rendered heads in rows, kinds in columns."""
    tiles = []
    for caption, *arguments in CASES:
        image = case(aligner, *arguments)
        outputs = Outputs(image, aligner(image)[:1], aligner, Options(uv_size=512))
        frontal = frontal_view(image, outputs.faces[0], outputs.meshes[0], size=224).image
        size = (180, 196)
        drawn = [(caption, image), *((kind, outputs.draw(kind)) for kind in ("2d_sparse", "2d_dense", "3d", "uv_tex"))]
        tiles += [labelled(panel, name, size) for name, panel in [*drawn, ("frontal", frontal)]]
    return grid(tiles, 6)


def textures(aligner):
    """Textures without and with a visibility test, each as a UV map and on the head turned by 45 degrees."""
    tiles = []
    for image in (
        case(aligner, "astronaut", 35, -5, 0, {}, False),
        image_io.read(EXAMPLES / "inputs/grace_hopper.jpg"),
    ):
        face = aligner(image)[0]
        mesh, side = aligner.decoder.mesh(face), 45 if face.camera.euler_degrees().yaw < 0 else -45
        texture = unwrap(image, mesh, size=512)
        plain = sample(image, mesh.vertices)[:, ::-1] / np.float32(255)
        pairs = (("sampled everywhere", plain), ("ours", aligner.decoder.mesh(face, image).colors))
        tiles.append(labelled(image[around(image, [face])], "photo"))
        tiles += [labelled(turned(replace(mesh, colors=colors), side), name) for name, colors in pairs]
        tiles += [labelled(texture.image, "uv_tex"), labelled(texture.mask[..., None].repeat(3, axis=2), "--uv-mask")]
    return grid(tiles, 5)


def turned(mesh, yaw):
    """A coloured mesh, turned further by `yaw` degrees, on a plain background."""
    flip = np.diag([1.0, -1.0, 1.0])
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    scale = 0.8 * min(size / extent for size, extent in zip(TILE, (high - low)[:2].tolist(), strict=True)) * 2
    vertices = (mesh.vertices - (low + high) / 2) @ (flip @ rotation_from_euler(yaw, 0, 0) @ flip).T * scale
    moved = replace(mesh, vertices=(vertices + np.array([*TILE, 0])).astype(np.float32), opacity=None)
    return draw.mesh(np.full((2 * TILE[1], 2 * TILE[0], 3), 235, np.uint8), [moved], alpha=1.0)


def video(aligner):
    """Frames (RGB) of the example video with the lit surface, and the time between them in ms."""
    tracker, panels = Tracker(aligner), []
    for number, frame in enumerate(frames(EXAMPLES / "inputs/videos/crossing.mp4")):
        faces = tracker(frame)
        if number % STEP == 0 and 40 <= number < 240:
            drawn = Outputs(frame.image, faces, aligner, Options()).draw("3d")
            panels.append(cv2.resize(drawn, (288, 162), interpolation=cv2.INTER_AREA)[..., ::-1])
    return panels, STEP * 1000 // 30


def opening(aligner):
    """The image at the top of the README: a group, a turned face and closed eyes, with several kinds."""
    image = group(aligner)
    tiles = [Outputs(image, aligner(image), aligner, Options()).draw("3d")]
    for source in (
        case(aligner, 8, 44, -4, 4, {"mouthSmile": 0.4}, False),
        case(aligner, "astronaut", -12, 2, -3, {"eyeBlink": 1.0}, False),
    ):
        photo = cv2.resize(source, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        faces = aligner(photo)
        outputs, part = Outputs(photo, faces, aligner, Options()), around(photo, faces)
        row = [labelled(photo[part], "input", (184, 200))]
        for kind in ("2d_sparse", "2d_dense", "3d", "depth", "uv_tex"):
            drawn = outputs.draw(kind)
            row.append(labelled(drawn if kind == "uv_tex" else drawn[part], kind, (184, 200)))
        tiles.append(grid(row, 6))
    width = tiles[1].shape[1]
    tiles = [cv2.resize(tile, (width, round(tile.shape[0] * width / tile.shape[1])), interpolation=cv2.INTER_AREA)
             for tile in tiles]  # fmt: skip
    gap = np.full((GAP, width, 3), 255, np.uint8)
    return np.vstack([tiles[0], gap, tiles[1], gap, tiles[2]])


FIGURES = {
    "grace_hopper": ("A photo and every kind", "`tddfa image examples/inputs/grace_hopper.jpg -o KIND`."),
    "astronaut": ("A small face", "Lines and dots are as fine as the face allows."),
    "two_people": ("Two faces", "`uv_tex` has a texture for each face, side by side."),
    "renders": (
        "Rendered heads",
        "Turned, in profile, with closed eyes, with a mask, with an open mouth, with dark skin; and each as seen from "
        "the front (`tddfa align --frontal`). Hidden landmarks are rings.",
    ),
    "textures": (
        "Textures",
        "The head turned by 45°, with two textures: one takes the colours of the photo at every vertex, the other is "
        "ours. The mask shows the source of each texel: white is visible, light grey is mirrored, dark grey is filled.",
    ),
    "group": ("A group", "Rendered, and drawn as `3d`."),
}


def main():
    """Write docs/gallery.md, docs/gallery/ and docs/overview.jpg."""
    aligner = Aligner.load("open_mb05", device="cpu")
    folder = DOCS / "gallery"
    folder.mkdir(exist_ok=True)
    made = {name: every_kind(aligner, image_io.read(EXAMPLES / f"inputs/{name}.jpg")) for name in list(FIGURES)[:3]}
    people = group(aligner)
    drawn = Outputs(people, aligner(people), aligner, Options()).draw("3d")
    made |= {"renders": rendered_cases(aligner), "textures": textures(aligner), "group": np.vstack([people, drawn])}
    page = [
        "# Gallery",
        "",
        "`python examples/gallery.py` makes this page from the example photos and rendered heads.",
        "",
    ]
    for name, (title, caption) in FIGURES.items():
        write_jpg(folder / f"{name}.jpg", made[name])
        page += [f"## {title}", "", caption, "", f"![{title}](gallery/{name}.jpg)", ""]
    panels, pause = video(aligner)
    first, *rest = [Image.fromarray(np.ascontiguousarray(frame)).quantize(32) for frame in panels]
    first.save(folder / "video.gif", save_all=True, append_images=rest, duration=pause, loop=0, optimize=True)
    page += ["## A video", "", "`tddfa video examples/inputs/videos/crossing.mp4 -o 3d`.", ""]
    page += ["![A video](gallery/video.gif)", ""]
    write_atomic(DOCS / "gallery.md", "\n".join(page).encode())
    write_jpg(DOCS / "overview.jpg", opening(aligner))


def write_jpg(path, image):
    """Write an image of moderate size."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    write_atomic(path, data.tobytes())


if __name__ == "__main__":
    main()
