"""Native code with numbers that are none, too large or at a limit: by its checked interfaces, and by itself."""

from __future__ import annotations

import re

import numpy as np
import pytest

import Sim3DR
from builders_fuzz import is_taken, numbers, st
from FaceBoxes.nms import nms, nms_reference
from tddfa.crop import crop_images
from tddfa.export import _text
from tddfa.geometry import _squares
from tddfa.model import _basis
from tddfa.surface import _texels

pytestmark = pytest.mark.fuzz

ERRORS = (TypeError, ValueError)
COUNTS = st.integers(0, 12)


@st.composite
def scenes(draw):
    """Vertices, triangles, a window, and how to draw."""
    count = draw(st.integers(1, 12))
    vertices = draw(numbers((count, 3)))
    indices = numbers((draw(COUNTS), 3), np.int32, 0, count - 0.01)
    window = [draw(st.one_of(st.integers(-40, 40), st.sampled_from((2**29, -(2**29), 2**40)))) for _ in range(2)]
    window += [draw(st.one_of(st.integers(0, 70), st.sampled_from((-1, 2**28, 2**31)))) for _ in range(2)]
    if window[2] * window[3] > 10_000 and max(window[2:]) <= 2**28:
        window[2:] = [3, 5]  # what is refused costs nothing
    cull = draw(st.sampled_from(("none", "back", "front")))
    return vertices, draw(indices), window, {"cull": cull, "factor": draw(st.integers(1, 3))}


def test_rendering(explored):
    def check(example):
        (vertices, triangles, window, how), attributes, background, threads, gap = example
        rasters = []

        def draw():
            for count in (1, threads):
                rasters.append(Sim3DR.rasterize(vertices, triangles, window, threads=count, **how))

        taken = is_taken(draw, ERRORS)
        if taken:
            one, raster = rasters
            seen = raster.triangle_id
            assert seen.min(initial=-1) >= -1 and seen.max(initial=-1) < len(triangles)
            assert (raster.barycentric >= 0).all() and (raster.barycentric.sum(axis=-1) <= 1.00001).all()
            for name in ("depth", "triangle_id", "barycentric"):
                assert getattr(one, name).tobytes() == getattr(raster, name).tobytes(), name
            attributes = attributes[: len(vertices)]
            for kind in (np.float32, np.uint8):
                options = {"background": background, "dtype": kind}
                drawn = [Sim3DR.interpolate(raster, triangles, attributes, threads=n, **options) for n in (1, threads)]
                assert drawn[0].tobytes() == drawn[1].tobytes()
                assert drawn[0].shape == (*seen.shape, attributes.shape[1])
            is_taken(lambda: Sim3DR.close_holes(raster, *gap), ERRORS)
            assert raster.triangle_id.max(initial=-1) < len(triangles)
        is_taken(lambda: Sim3DR.vertex_normals(vertices, triangles), ERRORS)
        is_taken(lambda: Sim3DR.bounds(vertices), ERRORS)
        return taken

    attributes, gap = numbers((12, 3)), st.tuples(numbers(()), numbers(()))
    explored(st.tuples(scenes(), attributes, numbers((3,)), st.integers(2, 8), gap), check)


@st.composite
def layers(draw):
    """An image, a mesh that covers some of it, and a layer with its options."""
    rows, columns, factor = draw(st.integers(1, 30)), draw(st.integers(1, 30)), draw(st.integers(1, 3))
    left, top = draw(st.integers(-2, 5)), draw(st.integers(-2, 5))
    vertices = np.random.default_rng(draw(st.integers(0, 99))).uniform(-9, 40, (6, 3))
    raster = Sim3DR.rasterize(vertices, [[0, 1, 2], [3, 4, 5], [0, 2, 4]], (left, top, columns, rows), factor=factor)
    channels, palette = draw(st.integers(1, 5)), draw(numbers((draw(st.integers(0, 256)), 3), np.uint8, 0, 255))
    layer = draw(numbers((*raster.triangle_id.shape, channels), np.uint8, 0, 255))
    image = draw(numbers((40, draw(st.integers(20, 40)), 3), np.uint8, 0, 255))
    options = {"alpha": float(draw(numbers((), low=0, high=1))), "factor": factor, "threads": draw(st.integers(1, 8))}
    return raster, layer, image, {**options, "palette": draw(st.sampled_from((None, palette)))}


def test_layers(explored):
    def check(example):
        raster, layer, image, options = example
        out, one = image.copy(), image.copy()
        taken = is_taken(lambda: Sim3DR.composite(out, raster, layer, **options), ERRORS)
        if taken:
            Sim3DR.composite(one, raster, layer, **{**options, "threads": 1})
            assert (out == one).all()
        else:
            assert (out == image).all()
        return taken

    explored(layers(), check)


def test_suppression(explored):
    def check(example):
        boxes, scores, threshold, most = example
        kept = []
        if not is_taken(lambda: kept.append(nms(boxes, scores, threshold, most)), (*ERRORS, OverflowError)):
            return False
        assert kept[0].tolist() == nms_reference(boxes, scores, threshold, most).tolist()
        return True

    sizes = st.integers(0, 9).flatmap(lambda n: st.tuples(numbers((n, 4)), numbers((n,), low=0, high=1)))
    thresholds = st.one_of(st.floats(0.01, 1), st.floats())
    limits = st.one_of(st.integers(0, 9), st.integers())
    explored(
        st.tuples(sizes, thresholds, limits).map(lambda each: (*each[0], *each[1:])),
        check,
    )


def test_text_of_numbers(explored):
    def check(example):
        prefix, rows, decimals = example
        texts = []
        if not is_taken(lambda: texts.append(_text.format_rows(prefix, rows, decimals)), ERRORS):
            return False
        lines = (
            " ".join(f"{value:.{places}f}" for value, places in zip(row, decimals, strict=True))
            for row in rows.tolist()
        )
        plain = (re.sub(r"-(0(?:\.0*)?)(?= |$)", r"\1", line) for line in lines)  # zero has no sign
        assert texts[0] == b"".join(prefix + line.encode() + b"\n" for line in plain)
        return True

    def made(shape):
        decimals = st.lists(st.integers(0, 9), min_size=shape[1], max_size=shape[1])
        wrong = st.lists(st.integers(-2, 12), max_size=18)
        return st.tuples(st.binary(max_size=70), numbers(shape), st.one_of(decimals, decimals, wrong).map(tuple))

    explored(st.tuples(COUNTS, st.integers(0, 17)).flatmap(made), check)


def test_text_of_triangles(explored):
    def check(example):
        prefix, triangles, offset, uv_offset = example
        texts = []
        if not is_taken(lambda: texts.append(_text.format_faces(prefix, triangles, offset, uv_offset)), ERRORS):
            return False
        expected = b""
        for row in triangles.tolist():
            corners = [f"{k + offset}" if uv_offset is None else f"{k + offset}/{k + uv_offset}" for k in row]
            expected += prefix + " ".join(corners).encode() + b"\n"
        assert texts[0] == expected
        return True

    offsets = st.one_of(st.integers(0, 99), st.sampled_from((2**31, 2**32, 2**32 + 1, 2**64, -1)))
    triangles = COUNTS.flatmap(lambda n: numbers((n, 3), np.int32, 0, 500))
    explored(st.tuples(st.binary(max_size=70), triangles, offsets, st.one_of(st.none(), offsets)), check)


def test_crops(explored):
    images = [np.random.default_rng(k).integers(0, 256, (20 + k, 30, 3), dtype=np.uint8) for k in range(2)]

    def check(example):
        squares, which, flipped, size = example
        out = np.full((len(squares), size, size, 3), 77, np.uint8)
        taken = is_taken(lambda: crop_images(images, which[: len(squares)], squares, out, flipped=flipped), ERRORS)
        if taken:  # what is far from the image is black
            far = np.isfinite(squares).all(axis=1) & (np.abs(squares[:, :2]).max(axis=1, initial=0) > 1e6)
            assert not out[far & (np.abs(squares[:, 2]) < 1e3)].any()
        return taken

    squares = st.integers(0, 3).flatmap(lambda n: numbers((n, 4), np.float64))
    which = numbers((3,), np.int64, 0, 1.99)
    explored(st.tuples(squares, which, st.booleans(), st.integers(1, 24)), check)


def test_sums_of_the_face_model(explored):
    def check(example):
        mean, basis, coefficients, out, matrices = example
        taken = is_taken(lambda: _basis.combine(mean, basis, coefficients, out, matrices), ERRORS)
        small = all(np.abs(each).max(initial=0) < 1e3 for each in (mean, basis, coefficients))  # not NaN either
        if taken and small and matrices is None and out.size:
            expected = mean + np.tensordot(coefficients.astype(np.float64), basis, axes=1)
            assert np.allclose(out, expected, rtol=1e-4, atol=0.1)
        return taken

    def made(sizes):
        points, vectors, faces, wrong = sizes
        other = (*(points + (wrong == k) for k in range(3)), 3 + (wrong == 3), 3 + (wrong == 4))
        matrices = st.one_of(st.none(), numbers((1 + (wrong == 6), 3, 4 + (wrong == 5))))
        return st.tuples(
            numbers((other[0], other[3])), numbers((vectors, other[1], 3)), numbers((faces, vectors)),
            numbers((faces, other[2], other[4])), matrices,
        )  # fmt: skip

    sizes = st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 4), st.integers(0, 12))
    explored(sizes.flatmap(made), check)


def test_squares(explored):
    """These trust shapes, which their callers made; no number makes them leave an array."""

    def check(example):
        squares, cameras, size = example
        n, kinds = len(squares), np.float64
        for out, run in (
            ((n, 2), lambda out: _squares.offsets(squares, size, out)),
            ((n,), lambda out: _squares.common_areas(squares, squares[::-1].copy(), out)),
            ((n,), lambda out: _squares.crop_angles(squares[:, 0].copy(), squares[:, 1].copy(), 15, 30, out)),
            ((n, 4), lambda out: _squares.around(cameras, squares[:, 3].copy(), 1.25, 1, out)),
        ):
            padded = np.full((n + 2, *out[1:]), 5.5, kinds)
            run(padded[1:-1])
            assert (padded[[0, -1]] == 5.5).all()
        folded = np.empty((n, 3, 4), np.float32)
        _squares.fold(squares, cameras.astype(np.float64), size, folded)
        _squares.unfold(squares, cameras, size, folded)
        _squares.rolls(cameras, np.empty(n), np.empty(n))
        return True

    made = st.integers(0, 4).flatmap(lambda n: st.tuples(numbers((n, 4), np.float64), numbers((n, 3, 4))))
    explored(st.tuples(made, st.integers(1, 4096)).map(lambda each: (*each[0], each[1])), check, refuses=False)


@st.composite
def textures(draw):
    rows, columns, count = draw(st.integers(0, 12)), draw(st.integers(0, 12)), draw(st.integers(1, 6))
    shape = (rows, columns)
    wrong = draw(st.integers(0, 9)) == 0
    return {
        "triangle_id": draw(numbers(shape, np.int32, -1, 1.99)).clip(-1, 1),
        "barycentric": draw(numbers((*shape, 2), low=0, high=0.5)),
        "triangles": draw(numbers((2, 3), np.int32, 0, count - 0.01)).clip(0, count - 1),
        "vertices": draw(numbers((count, 3))),
        "visibility": draw(numbers((count,), low=0, high=1)),
        "image": draw(numbers((draw(st.integers(1, 50)), draw(st.integers(1, 50)), 3 + wrong), np.uint8, 0, 255)),
        "scale_x": float(draw(numbers((), low=0, high=2))),
        "scale_y": 1.0,
    }


def test_textures(explored):
    def check(example):
        shape = example["triangle_id"].shape
        colors, weight = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32)
        taken = is_taken(lambda: _texels.sample_surface(**example, colors=colors, weight=weight), ERRORS)
        if not taken:
            return False
        marks, sources = (example["triangle_id"] % 2).astype(np.uint8), np.zeros(shape, np.uint8)
        out = np.zeros_like(colors)
        none, no_shade, no_colors = np.zeros(0, np.int64), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
        no_paint, change = (none, no_shade, none, no_colors), colors[::-1].copy()
        _texels.mix_sides(colors, weight, marks, change, colors, no_paint, 1 - marks, marks, sources, out)
        return True

    explored(textures(), check)
