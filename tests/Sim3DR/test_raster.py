"""The rasteriser against a slow reference implementation, and its errors for bad input."""

import subprocess
import sys

import numpy as np
import pytest

from Sim3DR import Raster, bounds, covered_window, empty, interpolate, rasterize, vertex_normals

GRID = 16  # vertices lie on 1/16 px, where the oracle's arithmetic is exact


def oracle(vertices, triangles, window, cull="none"):
    """Every pixel against every triangle, in whole numbers of 1/16 px; u, v, z in float64."""
    left, top, width, height = window
    column, row = np.meshgrid(GRID * (left + np.arange(width)), GRID * (top + np.arange(height)))
    depth = np.full((height, width), -np.inf)
    ids = np.full((height, width), -1)
    weights = np.zeros((height, width, 2))
    for index, triangle in enumerate(triangles):
        corners = vertices[triangle].astype(np.float64)
        x, y = np.rint(corners[:, :2].T * GRID).astype(np.int64)
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if area == 0 or cull == ("front" if area < 0 else "back"):
            continue
        inside = np.ones((height, width), dtype=bool)
        shares = []
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            if area < 0:  # walk clockwise on the screen
                j, k = k, j
            # the edge j-k, which faces corner i
            dx, dy = x[k] - x[j], y[k] - y[j]
            edge = dx * (row - y[j]) - dy * (column - x[j])
            top_left = dy < 0 or (dy == 0 and dx > 0)
            inside &= (edge >= 0) if top_left else (edge > 0)
            shares.append(edge / abs(area))
        z = sum(share * corner for share, corner in zip(shares, corners[:, 2], strict=True))
        nearer = inside & (z > depth)
        depth[nearer] = z[nearer]
        ids[nearer] = index
        weights[nearer] = np.stack(shares[:2], axis=-1)[nearer]
    return depth, ids, weights


def random_mesh(rng, triangles, extent, size, z=100.0):
    """Loose triangles with corners on the grid, and each with a depth of its own: no ties."""
    centre = rng.uniform(*extent, (triangles, 1, 2))
    corners = np.rint((centre + rng.uniform(-size, size, (triangles, 3, 2))) * GRID) / GRID
    depth = rng.permuted(np.linspace(0, z, 3 * triangles)).reshape(triangles, 3, 1)
    vertices = np.concatenate([corners, depth], axis=2).reshape(-1, 3).astype(np.float32)
    return vertices, np.arange(3 * triangles, dtype=np.int32).reshape(-1, 3)


def assert_same(raster, vertices, triangles, window, cull="none"):
    depth, ids, weights = oracle(vertices, triangles, window, cull)
    differ = raster.triangle_id != ids
    # where two surfaces cross, float32 may select the other one
    tied = np.isclose(raster.depth, depth, rtol=0, atol=1e-5)
    assert not (differ & ~tied).any()
    assert differ.mean() < 1e-3
    np.testing.assert_array_equal(raster.mask, ids >= 0)
    np.testing.assert_allclose(raster.depth[~differ], depth[~differ], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(raster.barycentric[~differ], weights[~differ], rtol=0, atol=1e-5)


def jittered_grid(rng, cells, step, flip):
    """A triangulated square of (cells * step) px; inner vertices are moved, the windings are mixed."""
    line = np.arange(cells + 1)
    x, y = (axis.astype(float) * step for axis in np.meshgrid(line, line))
    inner = (slice(1, -1), slice(1, -1))
    for axis in (x, y):
        axis[inner] += np.rint(rng.uniform(-0.4, 0.4, axis[inner].shape) * step * GRID) / GRID
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    first = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = first, first + 1, first + cells + 2, first + cells + 1
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    if flip == "all":
        triangles = triangles[:, ::-1]
    elif flip == "some":
        some = rng.random(len(triangles)) < 0.5
        triangles[some] = triangles[some][:, ::-1]
    return vertices, np.ascontiguousarray(triangles, dtype=np.int32)


def sphere(rings=24, sectors=48, radius=50.0):
    """Built about the origin with y up, wound counter-clockwise from outside; then y is turned down."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0, 2 * np.pi, sectors, endpoint=False)
    polar, around = np.meshgrid(polar, around, indexing="ij")
    ring = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    vertices = np.concatenate([ring.reshape(-1, 3), [[0, 1, 0], [0, -1, 0]]]) * radius
    north, south = len(vertices) - 2, len(vertices) - 1
    triangles = []
    for i in range(rings - 1):
        for j in range(sectors):
            k = (j + 1) % sectors
            upper_left, upper_right = i * sectors + j, i * sectors + k
            if i == 0:
                triangles.append((north, upper_left, upper_right))
            if i == rings - 2:
                triangles.append((upper_left, south, upper_right))
            else:
                lower_left, lower_right = upper_left + sectors, upper_right + sectors
                triangles += [(upper_left, lower_left, lower_right), (upper_left, lower_right, upper_right)]
    return (vertices * [1, -1, 1]).astype(np.float32), np.array(triangles, dtype=np.int32)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


TRIANGLE = np.array([[0, 0, 5], [3, 0, 5], [0, 3, 5]], dtype=np.float32)
ONE = np.array([[0, 1, 2]], dtype=np.int32)


@pytest.mark.parametrize(
    ("count", "extent", "size"),
    [(300, (0, 60), 4), (60, (-10, 70), 30), (400, (0, 60), 1), (20, (0, 60), 500), (5, (0, 60), 5000)],
    ids=["small", "middle", "tiny", "large", "huge"],
)
@pytest.mark.parametrize("cull", ["none", "back", "front"])
def test_random_triangles_agree_with_the_oracle(rng, count, extent, size, cull):
    window = (-4, 3, 61, 47)
    for _ in range(4):
        vertices, triangles = random_mesh(rng, count, extent, size)
        assert_same(rasterize(vertices, triangles, window, cull=cull), vertices, triangles, window, cull)


def test_triangles_with_corners_on_pixel_centres_agree_with_the_oracle(rng):
    window = (0, 0, 24, 24)
    for _ in range(10):
        vertices, triangles = random_mesh(rng, 80, (0, 24), 8)
        vertices[:, :2] = np.rint(vertices[:, :2])
        assert_same(rasterize(vertices, triangles, window), vertices, triangles, window)


def test_slivers_agree_with_the_oracle(rng):
    window = (0, 0, 60, 60)
    ends = np.rint(rng.uniform(-20, 80, (60, 2, 2)) * GRID) / GRID
    third = ends.mean(axis=1, keepdims=True) + rng.integers(-1, 2, (60, 1, 2)) / GRID
    corners = np.rint(np.concatenate([ends, third], axis=1) * GRID) / GRID
    z = rng.permuted(np.linspace(0, 50, 180)).reshape(60, 3, 1)
    vertices = np.concatenate([corners, z], axis=2).reshape(-1, 3).astype(np.float32)
    triangles = np.arange(180).reshape(-1, 3)
    assert_same(rasterize(vertices, triangles, window), vertices, triangles, window)


@pytest.mark.parametrize("flip", ["none", "all", "some"])
@pytest.mark.parametrize("step", [1, 2.5, 7])
@pytest.mark.parametrize("shift", [0.0, 1 / 3])
def test_every_pixel_of_a_closed_area_is_drawn_exactly_once(rng, flip, step, shift):
    vertices, triangles = jittered_grid(rng, 8, step, flip)
    vertices[:, :2] += np.float32(shift)
    size = int(np.ceil(8 * step)) + 4
    window = (-2, -2, size, size)
    drawn = sum(rasterize(vertices, [triangle], window).mask.astype(int) for triangle in triangles)
    centres = np.arange(-2, size - 2)
    within = (centres >= np.float32(shift)) & (centres < np.float32(8 * step + shift))
    np.testing.assert_array_equal(drawn, within[:, None] & within)


@pytest.mark.parametrize("width", [0.4, 1.3, 3.9, 4.2])
def test_a_tall_narrow_triangle_agrees_with_the_oracle(width):
    vertices = np.float32([[2, -3, 1], [2 + np.rint(width * GRID) / GRID, 150, 2], [0.5, 297.0625, 3]])
    window = (0, 0, 9, 300)
    assert_same(rasterize(vertices, ONE, window), vertices, ONE, window)
    quad = np.float32([[1, 0, 1], [4, 0, 1], [1, 300, 1], [4, 300, 1]])
    assert np.count_nonzero(rasterize(quad, [[0, 1, 2], [2, 1, 3]], window).mask) == 900


def test_edges_with_distant_ends_through_pixel_centres_agree_with_the_oracle(rng):
    # their slopes are no binary fractions: where they cross a row is known by rounding error only
    window = (0, 0, 20, 20)
    for _ in range(300):
        through, step = rng.integers(0, 20, 2), rng.integers(-99, 100, 2)
        before, after = rng.integers(1, 100, 2)
        line = [through - before * step, through + after * step, rng.integers(-3000, 3000, 2)]
        vertices = np.column_stack([line, [1, 2, 3]]).astype(np.float32)
        assert_same(rasterize(vertices, ONE, window), vertices, ONE, window)


def test_a_seam_of_duplicated_vertices_is_drawn_exactly_once(rng):
    vertices, triangles = jittered_grid(rng, 12, 3, "some")
    loose = vertices[triangles].reshape(-1, 3) + np.float32(0.1)
    apart = np.arange(len(loose)).reshape(-1, 3)
    drawn = sum(rasterize(loose, [triangle], (0, 0, 36, 36)).mask.astype(int) for triangle in apart)
    assert (drawn[1:, 1:] == 1).all()


def test_a_fan_about_a_pixel_centre_draws_it_once():
    angle = np.linspace(0, 2 * np.pi, 17, endpoint=False)
    rim = np.stack([5 + 4 * np.cos(angle), 5 + 4 * np.sin(angle), np.zeros(17)], axis=1)
    vertices = np.concatenate([[[5, 5, 0]], rim])
    drawn = [rasterize(vertices, [(0, i + 1, (i + 1) % 17 + 1)], (5, 5, 1, 1)).mask.item() for i in range(17)]
    assert sum(drawn) == 1


@pytest.mark.parametrize("triangles", [[[0, 1, 2], [0, 2, 3]], [[0, 2, 1], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]])
def test_square_with_pixel_centres_on_its_diagonal(triangles):
    square = np.array([[0, 0, 1], [6, 0, 1], [6, 6, 1], [0, 6, 1]])
    raster = rasterize(square, triangles, (-1, -1, 9, 9))
    inside = np.zeros((9, 9), dtype=bool)
    inside[1:7, 1:7] = True
    np.testing.assert_array_equal(raster.mask, inside)
    alone = [np.count_nonzero(rasterize(square, [t], (-1, -1, 9, 9)).mask) for t in triangles]
    assert sum(alone) == 36


def test_the_nearer_mesh_hides_the_farther_in_any_order():
    near, far = TRIANGLE + np.float32([0, 0, 4]), TRIANGLE
    both = [[0, 1, 2], [3, 4, 5]]
    for vertices, seen in ((np.concatenate([near, far]), 0), (np.concatenate([far, near]), 1)):
        raster = rasterize(vertices, both, (0, 0, 4, 4))
        assert set(raster.triangle_id[raster.mask]) == {seen}
        assert (raster.depth[raster.mask] == 9).all()


def test_the_lower_index_is_visible_at_equal_depth():
    raster = rasterize(TRIANGLE, [[0, 1, 2], [2, 1, 0], [1, 2, 0]], (0, 0, 4, 4))
    assert set(raster.triangle_id[raster.mask]) == {0}


@pytest.mark.parametrize("window", [(0, 0, 40, 40), (13, 7, 20, 31), (-30, -9, 50, 30), (38, 38, 60, 5)])
def test_a_window_is_a_slice_of_the_whole(rng, window):
    vertices, triangles = random_mesh(rng, 200, (-20, 60), 12)
    vertices[:, :2] += rng.uniform(-0.5, 0.5, (len(vertices), 2)).astype(np.float32)
    whole = rasterize(vertices, triangles, (-50, -50, 200, 200))
    part = rasterize(vertices, triangles, window)
    left, top, width, height = window
    there = (slice(top + 50, top + 50 + height), slice(left + 50, left + 50 + width))
    assert (part.left, part.top) == (left, top)
    for name in ("triangle_id", "depth", "barycentric"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[there])


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9])
def test_a_window_of_few_columns_is_a_slice_of_the_whole(rng, width):
    vertices, triangles = random_mesh(rng, 300, (0, 40), 9)
    whole = rasterize(vertices, triangles, (0, 0, 40, 40))
    for left in (0, 17, 40 - width):
        part = rasterize(vertices, triangles, (left, 3, width, 30))
        for name in ("triangle_id", "depth", "barycentric"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[3:33, left : left + width])


@pytest.mark.parametrize("factor", [2, 3])
def test_supersampling_splits_each_pixel(rng, factor):
    vertices, triangles = random_mesh(rng, 60, (0, 30), 15)
    fine = rasterize(vertices, triangles, (3, 5, 20, 17), factor=factor)
    assert fine.depth.shape == (17 * factor, 20 * factor)
    assert (fine.left, fine.top) == (3 * factor, 5 * factor)
    # a pixel's edge, half a pixel from its centre, stays an edge; z grows with the pixels
    scaled = (vertices + np.float32([0.5, 0.5, 0])) * np.float32(factor) - np.float32([0.5, 0.5, 0])
    assert_same(fine, scaled, triangles, (3 * factor, 5 * factor, 20 * factor, 17 * factor))


def test_a_corner_that_supersampling_moves_beyond_float32_is_not_drawn():
    vertices = np.float32([[0, 0, 1], [3.4e38, 0, 1], [0, 9, 1]])
    assert not rasterize(vertices, [[0, 1, 2]], (0, 0, 9, 9), factor=2).mask.any()


@pytest.mark.parametrize("factor", [0, 17, 2.0, True, None])
def test_bad_supersampling_is_refused(factor):
    with pytest.raises(ValueError, match="factor: expected a whole number"):
        rasterize([[0, 0, 0]] * 3, [[0, 1, 2]], (0, 0, 4, 4), factor=factor)


def test_the_window_of_a_mesh_holds_all_that_it_covers(rng):
    for _ in range(50):
        vertices, triangles = random_mesh(rng, 20, (0, 60), 12)
        vertices[:, :2] += rng.uniform(-60, 40, 2).astype(np.float32)
        window = covered_window(vertices, (40, 50))
        whole = rasterize(vertices, triangles, (0, 0, 50, 40))
        if window is None:
            assert not whole.mask.any()
            continue
        left, top, width, height = window
        assert min(left, top) >= 0
        assert left + width <= 50
        assert top + height <= 40
        part = rasterize(vertices, triangles, window)
        assert part.mask.sum() == whole.mask.sum()
        np.testing.assert_array_equal(part.triangle_id, whole.triangle_id[top : top + height, left : left + width])


def test_the_margin_of_a_window_ends_at_the_image():
    vertices = np.float32([[1, 10, 0], [4.5, 12, 0], [3, 20, 0]])
    assert covered_window(vertices, (30, 40), margin=3) == (0, 7, 9, 17)
    assert covered_window(vertices[:0], (30, 40)) is None
    assert covered_window(vertices - np.float32([10, 0, 0]), (30, 40)) is None


@pytest.mark.parametrize("row", [0, 1, 20])
def test_a_window_around_nan_is_refused(rng, row):
    vertices = rng.uniform(0, 30, (21, 3)).astype(np.float32)
    expected = covered_window(vertices, (30, 40))
    vertices[row, 2] = np.nan
    assert covered_window(vertices, (30, 40)) == expected, "z counts"
    vertices[row, 1] = np.nan
    with pytest.raises(ValueError, match="vertices: expected finite x and y, got 1 that are NaN"):
        covered_window(vertices, (30, 40))


@pytest.mark.parametrize("threads", [2, 3, 16, 256])
def test_the_result_does_not_depend_on_threads(rng, threads):
    # enough triangles for threads to be worth it, most of them in the lower half
    vertices, triangles = random_mesh(rng, 40000, (-10, 250), 5)
    vertices[::3, 1] += 40
    window = (-3, 2, 251, 333)
    one, many = (rasterize(vertices, triangles, window, cull="back", threads=n) for n in (1, threads))
    for name in ("triangle_id", "depth", "barycentric"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))
    colors = rng.random((len(vertices), 3), dtype=np.float32)
    np.testing.assert_array_equal(
        interpolate(one, triangles, colors), interpolate(one, triangles, colors, threads=threads)
    )


@pytest.mark.parametrize("threads", [0, -1, 257, 1.0, True, "2", None])
def test_bad_numbers_of_threads_are_refused(threads):
    with pytest.raises(ValueError, match=r"threads: expected a whole number, 1 \.\. 256, got"):
        rasterize(TRIANGLE, ONE, (0, 0, 4, 4), threads=threads)
    with pytest.raises(ValueError, match="threads: expected"):
        interpolate(rasterize(TRIANGLE, ONE, (0, 0, 4, 4)), ONE, TRIANGLE, threads=threads)


def test_bytes_are_rounded_and_saturated():
    raster = rasterize(TRIANGLE, ONE, (0, 0, 4, 4))
    for value, byte in ((-5, 0), (0.5, 0), (1.5, 2), (2.5, 2), (99.4, 99), (254.6, 255), (1e9, 255), (np.nan, 0)):
        blend = interpolate(raster, ONE, np.full((3, 1), value, np.float32), background=7.4, dtype=np.uint8)
        assert blend.dtype == np.uint8
        assert (blend[raster.mask] == byte).all()
        assert (blend[~raster.mask] == 7).all()
    with pytest.raises(TypeError, match="dtype: expected float32 or uint8, got int16"):
        interpolate(raster, ONE, TRIANGLE, dtype=np.int16)
    with pytest.raises(TypeError, match="out: expected an array of uint8, got float32"):
        interpolate(raster, ONE, TRIANGLE, dtype=np.uint8, out=np.zeros((4, 4, 3), np.float32))


def test_bytes_are_the_floats_rounded(rng):
    vertices, triangles = random_mesh(rng, 200, (0, 60), 20)
    raster = rasterize(vertices, triangles, (0, 0, 60, 60))
    for channels in (1, 2, 3, 5):
        attributes = rng.uniform(-20, 280, (len(vertices), channels)).astype(np.float32)
        floats = interpolate(raster, triangles, attributes)
        np.testing.assert_array_equal(
            interpolate(raster, triangles, attributes, dtype=np.uint8), np.rint(np.clip(floats, 0, 255))
        )


def test_memory_that_is_used_again_belongs_to_one_array_at_a_time():
    arrays = [empty((300, 100 + i, 2), np.float32) for i in range(6)]
    for i, array in enumerate(arrays):
        array[:] = i
    del arrays[::2]
    arrays += [empty((200, 100), np.int32), empty((0, 3), np.uint8)]
    arrays[-2][:] = -1
    for i, array in zip((1, 3, 5), arrays, strict=False):
        assert (array == i).all()
    part = arrays[0][3:5]  # keeps its memory without the array that it is a part of
    del arrays[0], array
    empty((300, 101, 2), np.float32)[:] = 9
    assert (part == 1).all()


def test_cull_leaves_out_one_side():
    back = rasterize(TRIANGLE, ONE, (0, 0, 4, 4), cull="back")  # right, then down: clockwise, a back face
    front = rasterize(TRIANGLE, ONE, (0, 0, 4, 4), cull="front")
    assert not back.mask.any()
    assert np.count_nonzero(front.mask) == 6
    assert np.count_nonzero(rasterize(TRIANGLE, ONE[:, ::-1], (0, 0, 4, 4), cull="back").mask) == 6


def test_a_sphere_shows_its_front():
    vertices, triangles = sphere()
    window = (-60, -60, 120, 120)
    culled = rasterize(vertices, triangles, window, cull="back")
    np.testing.assert_array_equal(culled.triangle_id, rasterize(vertices, triangles, window).triangle_id)
    assert culled.depth[60, 60] == pytest.approx(50, abs=0.3)
    inside_out = rasterize(vertices, triangles, window, cull="front")
    assert inside_out.depth[60, 60] == pytest.approx(-50, abs=0.3)


@pytest.mark.parametrize(
    ("vertices", "triangles", "window"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), (0, 0, 4, 3)),
        (TRIANGLE, np.zeros((0, 3), dtype=np.int64), (0, 0, 4, 3)),
        (TRIANGLE, np.zeros((0, 3)), (0, 0, 4, 3)),
        (TRIANGLE, ONE, (0, 0, 0, 3)),
        (TRIANGLE, ONE, (0, 0, 4, 0)),
        (TRIANGLE, ONE, (0, 0, 0, 0)),
        (TRIANGLE, ONE, (4, 0, 4, 3)),
        (TRIANGLE, ONE, (-9, -9, 4, 3)),
        (TRIANGLE, ONE, (2**29, -(2**29), 4, 3)),
        (TRIANGLE, [[0, 0, 1]], (0, 0, 4, 3)),
        (TRIANGLE * 0, ONE, (0, 0, 4, 3)),
        (TRIANGLE * 0.1 + 0.2, ONE, (0, 0, 4, 3)),
    ],
)
def test_an_empty_scene_is_an_empty_raster(vertices, triangles, window):
    raster = rasterize(vertices, triangles, window)
    assert raster.triangle_id.shape == (window[3], window[2])
    assert raster.barycentric.shape == (window[3], window[2], 2)
    assert (raster.triangle_id == -1).all()
    assert np.isneginf(raster.depth).all()
    assert not raster.barycentric.any()
    assert not raster.mask.any()
    blank = interpolate(raster, triangles, np.ones((len(vertices), 2)), background=7)
    assert blank.shape == (window[3], window[2], 2)
    assert (blank == 7).all()


def test_inputs_of_any_layout_give_the_same_and_stay_as_they_are(rng):
    vertices, triangles = random_mesh(rng, 50, (0, 30), 8)
    window = (0, 0, 30, 30)
    expected = rasterize(vertices, triangles, window)
    kept, kept_triangles = vertices.copy(), triangles.copy()
    vertices.flags.writeable = triangles.flags.writeable = False
    for points in (
        vertices,
        vertices.astype(np.float64),
        vertices.astype(">f4"),
        np.asfortranarray(vertices),
        np.repeat(vertices, 2, axis=0)[::2],
        vertices.tolist(),
    ):
        for corners in (
            triangles,
            triangles.astype(np.int64),
            triangles.astype(np.uint16),
            np.asfortranarray(triangles),
            triangles.tolist(),
        ):
            raster = rasterize(points, corners, np.array(window))
            np.testing.assert_array_equal(raster.triangle_id, expected.triangle_id)
            np.testing.assert_array_equal(raster.depth, expected.depth)
            np.testing.assert_array_equal(
                interpolate(raster, corners, points), interpolate(expected, triangles, vertices)
            )
            np.testing.assert_array_equal(vertex_normals(points, corners), vertex_normals(vertices, triangles))
    np.testing.assert_array_equal(vertices, kept)
    np.testing.assert_array_equal(triangles, kept_triangles)


@pytest.mark.parametrize("function", [lambda v, t: rasterize(v, t, (0, 0, 4, 4)), vertex_normals])
@pytest.mark.parametrize(
    ("vertices", "triangles", "error", "message"),
    [
        (TRIANGLE[:, :2], ONE, ValueError, r"vertices: expected shape \(n, 3\), got \(3, 2\)"),
        (TRIANGLE.T[0], ONE, ValueError, r"vertices: expected shape \(n, 3\), got \(3,\)"),
        ([["a", "b", "c"]] * 3, ONE, TypeError, "vertices: expected numbers"),
        (TRIANGLE * np.array([1, np.nan, 1]), ONE, ValueError, "vertices: expected finite .* got 3 "),
        (TRIANGLE * np.array([1, 1, np.inf]), ONE, ValueError, "vertices: expected finite .* got 3 "),
        (TRIANGLE + np.array([0, 1e300, 0]), ONE, ValueError, "vertices: expected finite"),
        (
            TRIANGLE,
            [[0, 1, 3]],
            ValueError,
            r"triangles: expected indices of the 3 rows of vertices, got 0 \.\. 3",
        ),
        (TRIANGLE, [[0, 1, -1]], ValueError, r"triangles: .* got -1 \.\. 1"),
        (TRIANGLE, [[0, 1, 2**32]], ValueError, "triangles: .* got 0 .. 4294967296"),
        (
            TRIANGLE,
            np.array([[0, 1, 2**64 - 1]], dtype=np.uint64),
            ValueError,
            "triangles: .* 18446744073709551615",
        ),
        (TRIANGLE, [[0.0, 1.0, 2.0]], TypeError, "triangles: expected whole numbers, got dtype float64"),
        (
            TRIANGLE,
            np.zeros((1, 3), dtype=bool),
            TypeError,
            "triangles: expected whole numbers, got dtype bool",
        ),
        (TRIANGLE, [[0, 1]], ValueError, r"triangles: expected shape \(n, 3\), got \(1, 2\)"),
        (TRIANGLE, [0, 1, 2], ValueError, r"triangles: expected shape \(n, 3\), got \(3,\)"),
        (np.zeros((0, 3)), ONE, ValueError, "triangles: expected indices of the 0 rows"),
    ],
)
def test_bad_meshes_are_refused(function, vertices, triangles, error, message):
    with pytest.raises(error, match=message):
        function(vertices, triangles)


def test_more_triangles_than_ids_are_refused():
    many = np.broadcast_to(ONE, (2**31, 3))  # one row in memory
    with pytest.raises(ValueError, match="triangles: expected at most 2147483647 rows, got 2147483648"):
        rasterize(TRIANGLE, many, (0, 0, 4, 4))


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        ((0, 0, -1, 4), ValueError, "window: expected width and height of at least 0, got -1 x 4"),
        (
            (0, 0, 2**20, 2**20),
            ValueError,
            "window: expected at most 268435456 pixels, got 1048576 x 1048576",
        ),
        ((0, 0, 10**30, 0), ValueError, "window: expected at most"),
        ((2**40, 0, 4, 4), ValueError, "window: expected left and top within"),
        ((0, -(2**29) - 1, 4, 4), ValueError, "window: expected left and top within"),
        ((0, 0, 4), TypeError, "window: expected four whole numbers"),
        ((0, 0, 4, 4, 4), TypeError, "window: expected four whole numbers"),
        ((0, 0.5, 4, 4), TypeError, "window: expected four whole numbers"),
        (None, TypeError, "window: expected four whole numbers"),
    ],
)
def test_bad_windows_are_refused(window, error, message):
    with pytest.raises(error, match=message):
        rasterize(TRIANGLE, ONE, window)


@pytest.mark.parametrize("cull", ["both", None, 1, ["back"]])
def test_an_unknown_cull_is_refused(cull):
    with pytest.raises(ValueError, match="cull: expected 'none', 'back' or 'front', got"):
        rasterize(TRIANGLE, ONE, (0, 0, 4, 4), cull=cull)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_interpolate_agrees_with_the_oracle(rng, channels):
    vertices, triangles = random_mesh(rng, 120, (0, 40), 8)
    raster = rasterize(vertices, triangles, (0, 0, 40, 40))
    attributes = rng.normal(size=(len(vertices), channels))
    background = np.arange(channels) - 9.0
    picture = interpolate(raster, triangles, attributes, background=background)
    u, v = raster.barycentric[..., :1].astype(np.float64), raster.barycentric[..., 1:].astype(np.float64)
    first, second, third = (attributes[triangles[raster.triangle_id, i]] for i in range(3))
    expected = np.where(raster.mask[..., None], u * first + v * second + (1 - u - v) * third, background)
    assert picture.dtype == np.float32
    assert raster.mask.any() and not raster.mask.all()
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_constants_stay_exactly_constant(rng, channels):
    vertices, triangles = random_mesh(rng, 120, (0, 40), 8)
    raster = rasterize(vertices, triangles, (0, 0, 40, 40))
    value = np.linspace(0.1, 0.7, channels).astype(np.float32)
    picture = interpolate(raster, triangles, np.tile(value, (len(vertices), 1)), background=-1)
    assert (picture[raster.mask] == value).all()
    assert (picture[~raster.mask] == -1).all()


def test_a_linear_function_is_reproduced_at_pixel_centres(rng):
    vertices, triangles = jittered_grid(rng, 10, 4, "some")
    vertices[:, :2] += np.float32(0.3)
    window = (-3, 2, 50, 50)
    raster = rasterize(vertices, triangles, window)
    picture = interpolate(raster, triangles, vertices[:, :2], background=np.nan)
    row, column = np.nonzero(raster.mask)
    assert len(row) > 1000
    np.testing.assert_allclose(picture[row, column], np.stack([column - 3, row + 2], axis=1), atol=2e-5)
    assert np.isnan(picture[~raster.mask]).all()


def test_depth_is_z_interpolated(rng):
    vertices, triangles = random_mesh(rng, 120, (0, 40), 8)
    raster = rasterize(vertices, triangles, (0, 0, 40, 40))
    picture = interpolate(raster, triangles, vertices[:, 2:], background=-np.inf)
    np.testing.assert_allclose(picture[..., 0], raster.depth, atol=1e-4)


def test_interpolate_writes_into_out():
    raster = rasterize(TRIANGLE, ONE, (0, 0, 4, 4))
    out = np.full((4, 4, 3), 99, dtype=np.float32)
    assert interpolate(raster, ONE, TRIANGLE, out=out) is out
    np.testing.assert_array_equal(out, interpolate(raster, ONE, TRIANGLE))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((4, 4, 3)), TypeError, "out: expected an array of float32, got float64"),
        ([1.0], TypeError, "out: expected an array of float32, got list"),
        (
            np.zeros((4, 4, 2), dtype=np.float32),
            ValueError,
            r"out: expected shape \(4, 4, 3\), got \(4, 4, 2\)",
        ),
        (np.zeros((4, 4, 6), dtype=np.float32)[..., ::2], ValueError, "out: expected a C-contiguous"),
        (np.broadcast_to(np.float32(0), (4, 4, 3)), ValueError, "out: expected a C-contiguous"),
    ],
)
def test_a_bad_out_is_refused(out, error, message):
    with pytest.raises(error, match=message):
        interpolate(rasterize(TRIANGLE, ONE, (0, 0, 4, 4)), ONE, TRIANGLE, out=out)


def test_an_out_over_an_input_is_refused():
    raster = rasterize(TRIANGLE, ONE, (0, 0, 4, 4))
    over = raster.triangle_id.view(np.float32)[..., None]
    with pytest.raises(ValueError, match="out: expected memory of its own"):
        interpolate(raster, ONE, TRIANGLE[:, :1], out=over)


@pytest.mark.parametrize(
    ("triangles", "attributes", "background", "error", "message"),
    [
        (
            ONE,
            TRIANGLE[:2],
            0,
            ValueError,
            r"triangles: expected indices of the 2 rows of attributes, got 0 \.\. 2",
        ),
        (ONE, TRIANGLE[:, 0], 0, ValueError, r"attributes: expected shape \(n, n\), got \(3,\)"),
        (ONE, TRIANGLE[:, :0], 0, ValueError, "attributes: expected at least one column"),
        (
            ONE[:0],
            TRIANGLE,
            0,
            ValueError,
            "triangles: expected at least 1, because the raster shows triangle 0, got 0",
        ),
        (ONE, TRIANGLE, [1, 2], ValueError, r"background: expected shape \(3\), got \(2,\)"),
        (ONE, TRIANGLE, "red", TypeError, "background: expected numbers"),
    ],
)
def test_bad_attributes_are_refused(triangles, attributes, background, error, message):
    raster = rasterize(TRIANGLE, ONE, (0, 0, 4, 4))
    with pytest.raises(error, match=message):
        interpolate(raster, triangles, attributes, background=background)


def test_interpolate_requires_a_raster():
    with pytest.raises(TypeError, match="raster: expected a Raster, got tuple"):
        interpolate((1, 2), ONE, TRIANGLE)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"depth": np.zeros((2, 3))}, TypeError, r"Raster.depth: expected an array of float32, got float64"),
        ({"depth": None}, TypeError, r"Raster.depth: expected an array of float32, got NoneType"),
        ({"depth": np.zeros((3, 2), np.float32)}, ValueError, r"Raster.depth: expected shape \(2, 3\)"),
        ({"triangle_id": np.zeros(6, np.int32)}, ValueError, r"Raster.triangle_id: expected shape \(h, w\)"),
        (
            {"triangle_id": np.zeros((2, 3), np.int64)},
            TypeError,
            "Raster.triangle_id: expected an array of int32",
        ),
        (
            {"barycentric": np.zeros((2, 3, 3), np.float32)},
            ValueError,
            r"Raster.barycentric: expected shape \(2, 3, 2\)",
        ),
        (
            {"barycentric": np.zeros((2, 3, 4), np.float32)[..., ::2]},
            ValueError,
            "Raster.barycentric: .*contiguous",
        ),
    ],
)
def test_arrays_of_a_raster_are_checked(changed, error, message):
    fields = {
        "depth": np.zeros((2, 3), np.float32),
        "triangle_id": np.zeros((2, 3), np.int32),
        "barycentric": np.zeros((2, 3, 2), np.float32),
    }
    assert Raster(**fields).mask.all()
    with pytest.raises(error, match=message):
        Raster(**{**fields, **changed})


def test_normals_of_a_sphere_point_outward():
    vertices, triangles = sphere()
    normals = vertex_normals(vertices + np.float32([300, 200, 100]), triangles)
    cosine = np.sum(normals * vertices / 50, axis=1)
    assert cosine.min() > np.cos(np.radians(2))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_the_normal_of_a_front_face_points_to_the_viewer():
    down_then_right = [[0, 0, 0], [0, 4, 0], [4, 0, 0]]
    assert rasterize(down_then_right, ONE, (0, 0, 4, 4), cull="back").mask.any()
    np.testing.assert_array_equal(vertex_normals(down_then_right, ONE), [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(vertex_normals(down_then_right, ONE[:, ::-1]), [[0, 0, -1]] * 3)


def test_normals_are_weighted_by_area():
    # about vertex 0 a triangle of area 6 that looks along z, and one of area 2 that looks along -x
    vertices = [[0, 0, 0], [0, 4, 0], [3, 0, 0], [0, 0, -1]]
    triangles = [[0, 1, 2], [0, 3, 1]]
    normals = vertex_normals(vertices, triangles)
    np.testing.assert_allclose(normals[0], np.array([-4, 0, 12]) / np.hypot(4, 12), atol=1e-6)


def test_vertices_without_area_have_no_normal():
    vertices = np.array([[0, 0, 0], [0, 4, 0], [4, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3], [9, 9, 9]])
    normals = vertex_normals(vertices, [[0, 1, 2], [3, 4, 5], [3, 3, 4], [0, 0, 1]])
    np.testing.assert_array_equal(normals[:3], [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(normals[3:], 0)
    assert vertex_normals(np.zeros((0, 3)), np.zeros((0, 3), int)).shape == (0, 3)
    assert not vertex_normals(vertices, np.zeros((0, 3), int)).any()


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e5, 1e19])
def test_normals_do_not_depend_on_the_unit(scale):
    vertices, triangles = sphere()
    np.testing.assert_allclose(
        vertex_normals(vertices * np.float32(scale), triangles),
        vertex_normals(vertices, triangles),
        atol=1e-5,
    )


def test_without_the_extension_the_error_names_the_build_command():
    code = (
        "import sys; sys.modules['Sim3DR._native'] = None\n"
        "try:\n    import Sim3DR\n"
        "except ImportError as error:\n    print(error, '|', type(error.__cause__).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the compiled extensions are missing: run ./build.sh or pip install -e . |")


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 1000])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_bounds_agree_with_numpy(rng, rows, columns):
    points = rng.normal(size=(rows, columns)).astype(np.float32)
    low, high = bounds(points)
    np.testing.assert_array_equal(low, points.min(axis=0))
    np.testing.assert_array_equal(high, points.max(axis=0))


@pytest.mark.parametrize("view", [np.s_[:, :2], np.s_[::2], np.s_[::-1], np.s_[:, ::-1], np.s_[:, 1:]])
def test_bounds_of_views(rng, view):
    points = rng.normal(size=(50, 3)).astype(np.float32)[view]
    np.testing.assert_array_equal(bounds(points), [points.min(axis=0), points.max(axis=0)])


def test_bounds_of_nothing_are_an_error():
    with pytest.raises(ValueError, match=r"points: expected shape \(n, k\) with at least one row, got \(0, 3\)"):
        bounds(np.zeros((0, 3), np.float32))
