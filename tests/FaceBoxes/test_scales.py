import numpy as np
import pytest

from FaceBoxes.scales import Scales

SETTINGS = {"max_height": 720, "max_width": 1080, "max_area": 777_600, "small_area": 24_576, "tiles": True}


def scales(**changes):
    return Scales(**{**SETTINGS, **changes})


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ((720, 1080), (720, 1080)),
        ((1440, 2160), (720, 1080)),
        ((1000, 1000), (881, 881)),
        ((300, 2500), (300, 2500)),
        ((9000, 600), (3415, 227)),
        ((20, 20_000), (20, 20_000)),
        ((1, 10_000_000), (1, 24_300)),  # the network takes it as 32 rows
    ],
)
def test_the_whole_view_is_limited_by_area(size, whole):
    assert scales().whole_size(*size) == whole


@pytest.mark.parametrize(("size", "whole"), [((1000, 1000), (720, 720)), ((9000, 600), (720, 48))])
def test_or_by_both_sides(size, whole):
    assert scales(max_area=None).whole_size(*size) == whole


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ((256, 400), (409, 640)),
        ((512, 512), (512, 512)),
        ((600, 800), (600, 800)),
        ((100, 80), (200, 160)),  # twice, not more
        ((20, 12_000), (20, 12_541)),
        ((1440, 2160), (720, 1080)),
    ],
)
def test_small_images_are_enlarged(size, whole):
    assert scales(min_area=262_144).whole_size(*size) == whole
    view = next(scales(min_area=262_144).views(np.zeros((*size, 3), np.uint8)))
    np.testing.assert_allclose(view.to_image(np.float32([[0, 0, *whole[::-1]]]))[0, 2:], size[::-1], atol=1)


@pytest.mark.parametrize(
    "size", [(1, 5_000_000), (4, 200_000), (12, 300_000), (300_000, 12), (40, 90_000), (1, 300_000)]
)
def test_thin_images_take_no_more_work_than_others(size):
    """Networks pad a view to 32 px at least."""
    views = [view.pixels.shape[:2] for view in scales(min_area=262_144).views(np.zeros((*size, 3), np.uint8))]
    padded = [max(height, 32) * max(width, 32) for height, width in views]
    assert max(padded) <= 780_000
    assert sum(padded) <= 780_000 + 1.6 * 32 * max(size) * (min(size) >= 8)


def test_a_small_area_does_not_make_small_tiles():
    views = [view.pixels.shape[:2] for view in scales(max_area=20_000).views(np.zeros((2000, 2500, 3), np.uint8))]
    assert max(height * width for height, width in views) <= 262_144
    assert sum(height * width for height, width in views) < 4 * 2000 * 2500


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        ((720, 1080), [(720, 1080), (128, 192)]),
        ((900, 900), [(881, 881), (156, 156)]),
        ((300, 300), [(300, 300)]),  # half of it would be larger than the small view
    ],
)
def test_a_small_view(size, shapes):
    views = list(scales().views(np.zeros((*size, 3), np.uint8)))
    assert [view.pixels.shape[:2] for view in views] == shapes
    assert len(list(scales(small_area=None).views(np.zeros((*size, 3), np.uint8)))) == 1


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        ((1440, 2160), []),  # shrunk twice, not more
        ((9000, 600), [1.0]),
        ((600, 9000), [1.0]),
        ((3000, 4000), [1.0]),
        ((100, 600_000), [1.0, 1 / 3, 1 / 9]),
    ],
)
def test_tiles_cover_images_that_would_be_shrunk_more_than_twice(size, levels):
    tiles = list(scales(small_area=None).views(np.zeros((*size, 3), np.uint8)))[1:]
    assert sorted({tile.scale for tile in tiles}, reverse=True) == pytest.approx(levels)
    assert not list(scales(tiles=False).views(np.zeros((*size, 3), np.uint8)))[2:]
    for scale in {tile.scale for tile in tiles}:
        height, width = (int(scale * side) for side in size)
        covered = np.zeros((height, width), np.uint8)
        level = [tile for tile in tiles if tile.scale == scale]
        assert len({tile.pixels.shape for tile in level}) == 1
        for tile in level:
            rows, columns = tile.pixels.shape[:2]
            assert rows * columns <= SETTINGS["max_area"]
            covered[tile.top : tile.top + rows, tile.left : tile.left + columns] += 1
            borders = (tile.left, tile.top, width - tile.left - columns, height - tile.top - rows)
            assert tile.seams == tuple(border > 0 for border in borders)
        assert covered.min() >= 1


def test_a_face_up_to_the_overlap_is_whole_in_a_tile():
    tiles = list(scales().views(np.zeros((3000, 4000, 3), np.uint8)))[2:]
    for x, y in np.random.default_rng(0).integers(0, (4000 - 180, 3000 - 180), (300, 2)):
        boxes = [np.array([[x, y, x + 180, y + 180]], np.float32) - [tile.left, tile.top] * 2 for tile in tiles]
        inside = [
            tile.counts(box)[0] and box.min() >= 0 and (box[0, 2:] <= tile.pixels.shape[1::-1]).all()
            for tile, box in zip(tiles, boxes, strict=True)
        ]
        assert any(inside)


def test_boxes_in_px_of_the_image(rng):
    image = rng.integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
    for view in list(scales().views(image))[2:]:
        x1, y1, x2, y2 = view.to_image(np.float32([[10, 20, 40, 60]]))[0].astype(int)
        np.testing.assert_array_equal(view.pixels[20:60, 10:40], image[y1:y2, x1:x2])


def test_boxes_at_seams_and_small_boxes_do_not_count():
    whole, small, first, *_ = scales().views(np.zeros((3000, 4000, 3), np.uint8))
    columns = first.pixels.shape[1]
    at_border, at_seam = [-20, -10, 60, 70], [columns - 60, 100, columns - 1, 160]
    assert first.counts(np.float32([at_border, at_seam])).tolist() == [True, False]
    assert whole.counts(np.float32([at_border, at_seam])).tolist() == [True, True]
    side = 192 * small.scale / whole.scale
    assert small.counts(np.float32([[0, 0, side - 1, 9], [0, 0, 9, side + 1]])).tolist() == [False, True]
    assert first.counts(np.zeros((0, 4), np.float32)).tolist() == []


class TestCloseUps:
    """Enlarged views around the small faces that the whole view gave."""

    def close_ups(self, size, *boxes, score=0.5, **changes):
        found = np.float32(boxes).reshape(-1, 4)
        return list(
            scales(min_area=262_144, **changes).close_ups(
                np.zeros((*size, 3), np.uint8), found, np.full(len(found), score), 0.5
            )
        )

    def test_there_are_none_without_a_small_face(self):
        assert not self.close_ups((720, 1080))
        assert not self.close_ups((720, 1080), [100, 100, 130, 140])
        assert not self.close_ups((720, 1080), [100, 100, 120, 120], tiles=False)
        assert not self.close_ups((3000, 4000), [100, 100, 120, 120]), "the image has been tiled"

    @pytest.mark.parametrize(
        ("size", "side", "scale"),
        [((720, 1080), 20, 2.0), ((1080, 1620), 30, 1.0), ((256, 256), 10, 4.0)],
    )
    def test_they_hold_the_small_faces(self, size, side, scale):
        corner = np.float32([0.7 * size[1], 0.1 * size[0]])
        small, large = [*corner, *(corner + side)], [0, 0, 200, 200]
        views = self.close_ups(size, small, large)
        assert 1 <= len(views) <= 4
        assert {view.scale for view in views} == {scale}
        assert all(view.pixels.shape[0] * view.pixels.shape[1] <= 262_144 for view in views)
        boxes = [np.float32([small]) * scale - [view.left, view.top] * 2 for view in views]
        assert any(
            view.counts(box)[0] and box.min() >= 0 and (box[0, 2:] <= view.pixels.shape[1::-1]).all()
            for view, box in zip(views, boxes, strict=True)
        )

    def test_large_boxes_do_not_count_there(self):
        (view, *_) = self.close_ups((720, 1080), [100, 100, 120, 120])
        assert view.counts(np.float32([[50, 50, 110, 110], [50, 50, 120, 110]])).tolist() == [True, False]

    @pytest.mark.parametrize(("size", "score"), [((720, 1080), 0.4), ((1080, 1620), 0.25)])
    def test_a_doubtful_face_is_worth_one_sooner_in_a_shrunk_image(self, size, score):
        assert self.close_ups(size, [100, 100, 120, 120], score=score)
        assert not self.close_ups(size, [100, 100, 120, 120], score=score - 0.01)

    def test_few_faces_have_a_window_each_and_many_share_tiles(self):
        boxes = [[100 * i, 100, 100 * i + 12, 112] for i in range(9)]
        windows = self.close_ups((720, 1080), *boxes)
        assert {view.pixels.shape for view in windows} == {(192, 192, 3)}
        near = self.close_ups((720, 1080), [100, 100, 112, 112], [120, 100, 132, 112])
        assert len(near) == 1
        many = self.close_ups((720, 1080), *boxes, *np.add(boxes, [0, 300, 0, 300]).tolist())
        assert min(view.pixels.shape[0] for view in many) > 192

    def test_a_window_shows_its_part_of_the_image(self, rng):
        image = rng.integers(0, 255, (1080, 1620, 3), dtype=np.uint8)
        (view,) = scales(min_area=262_144).close_ups(image, np.float32([[5, 800, 25, 820]]), np.ones(1), 0.5)
        assert view.scale == 1 and view.seams == (False, True, True, True)
        x1, y1, x2, y2 = view.to_image(np.float32([[10, 20, 40, 60]]))[0].astype(int)
        np.testing.assert_array_equal(view.pixels[20:60, 10:40], image[y1:y2, x1:x2])
