import numpy as np
import pytest

from tddfa.draw._lines import draw_lines

COLOR = (250, 10, 100)


def drawn(image, ends, radius):
    """In NumPy: each pixel is covered by how far its centre is inside."""
    out, (rows, columns) = image.astype(float), np.indices(image.shape[:2])
    for x0, y0, x1, y1 in ends:
        x, y = x1 - x0, y1 - y0
        along = np.clip(((columns - x0) * x + (rows - y0) * y) / max(x * x + y * y, 1e-300), 0, 1)
        distance = np.hypot(columns - x0 - along * x, rows - y0 - along * y)
        cover = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
        out += cover * (np.array(COLOR) - out)
    return out


@pytest.mark.parametrize("radius", [0.3, 0.7, 1.7, 4.2])
@pytest.mark.parametrize(
    "ends",
    [
        (20, 15, 20, 15),
        (5, 20, 40, 20),
        (40.4, 20.3, 5.2, 20.3),
        (12.3, 3, 12.3, 30.5),
        (7, 30, 7, 2),
        (3.2, 4.7, 41, 33.3),
        (40, 12, 3, 14.5),
        (22, 33, 25, 2),
        (-30, -20, 90, 60),
        (-9, 12, 8, 12),
        (44, -500, 44, 800),
        (-50, 300, -40, 200),
        (-1e6, -1e6, 1e6, 1e6 + 3),
    ],
)
def test_lines_cover_the_pixels_that_are_inside(rng, ends, radius):
    image = rng.integers(0, 256, (37, 48, 3), dtype=np.uint8)
    out = image.copy()
    draw_lines(out, np.array([ends], float), radius, COLOR)
    # numbers on the way are float: a cover is exact to a fraction of a level near, less so a million px away
    np.testing.assert_allclose(out, drawn(image, [ends], radius), atol=1.5 if max(ends) < 1e5 else 20)


def test_many_lines_are_drawn_in_their_order(rng):
    image, ends = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8), rng.uniform(-20, 90, (8, 4))
    out = image.copy()
    draw_lines(out, ends, 1.7, COLOR)
    np.testing.assert_allclose(out, drawn(image, ends, 1.7), atol=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_line_that_is_not_finite_is_not_drawn(rng, bad):
    image = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    for place in range(4):
        ends, out = np.array([[3.0, 4.0, 15.0, 12.0]]), image.copy()
        ends[0, place] = bad
        draw_lines(out, ends, 2, COLOR)
        np.testing.assert_array_equal(out, image)


@pytest.mark.parametrize("far", [(0, 0, 1e300, 1e-10), (0, 0, 1e-10, 1e300), (5, 5, -1e308, 1e308), (3, 4, 3, 1e308)])
def test_a_line_of_any_length_stays_in_the_image(far):
    image = np.zeros((30, 20, 3), np.uint8)
    draw_lines(image[10:20], np.array([far], float), 2, COLOR)
    assert not image[:10].any()
    assert not image[20:].any()


def test_arrays_of_other_shapes_are_refused():
    image = np.zeros((4, 4, 3), np.uint8)
    for wrong in (np.zeros((1, 3)), np.zeros((2, 5))):
        with pytest.raises(ValueError, match="expected an image of 3 channels, and lines of 4 numbers"):
            draw_lines(image, wrong, 1, COLOR)
    with pytest.raises(ValueError, match="3 channels"):
        draw_lines(image[..., :1].copy(), np.zeros((1, 4)), 1, COLOR)
    draw_lines(image[:0], np.zeros((1, 4)), 1, COLOR)
    draw_lines(image, np.zeros((0, 4)), 1, COLOR)
    assert not image.any()
