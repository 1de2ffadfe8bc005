import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from Sim3DR import rasterize, vertex_normals
from tddfa import Camera, Mesh, draw
from tddfa.draw import dense

SIZE = 480
BLACK = np.zeros((SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def mesh_of(model, yaw=0.0, scale=14.0, at=(240.0, 240.0, 0.0)):
    return Mesh(Camera.from_pose(yaw, 0.0, 0.0, scale, at).project(model.mean), model.triangles)


def inner(mesh, px):
    mask = rasterize(mesh.vertices, mesh.triangles, (0, 0, SIZE, SIZE), cull="back").mask
    return cv2.erode(mask.view(np.uint8), np.ones((2 * px + 1, 2 * px + 1))) > 0


def test_dots_are_on_vertices_that_face_the_viewer(model):
    mesh = mesh_of(model, yaw=40)
    there = draw.points(BLACK, [mesh]).any(axis=-1)
    near = np.ones_like(there)
    facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0
    x, y = np.rint(mesh.vertices[facing, :2]).astype(int).T
    near[y, x] = False
    assert there.sum() > 3000
    assert cv2.distanceTransform(near.view(np.uint8), cv2.DIST_L2, 5)[there].max() < 4


def test_hidden_vertices_have_no_dots(model):
    # a plate in front of the face
    head = mesh_of(model)
    corners = np.float32([[150, 150, 999], [150, 300, 999], [300, 150, 999], [300, 300, 999]])
    count = len(head.vertices)
    triangles = np.concatenate([head.triangles, np.int32([[0, 1, 2], [2, 1, 3]]) + count])
    covered = draw.points(BLACK, [Mesh(np.concatenate([head.vertices, corners]), triangles)])
    assert draw.points(BLACK, [head])[160:290, 160:290].any(axis=-1).mean() > 0.3
    assert covered[160:290, 160:290].any(axis=-1).mean() < 0.005
    assert covered[320:340, 200:280].any()


@pytest.mark.parametrize("scale", [2.5, 6.0, 20.0])
def test_dots_are_apart_and_equally_dense_at_every_size(model, scale):
    mesh = mesh_of(model, scale=scale)
    there = draw.points(BLACK, [mesh]).any(axis=-1)
    size = int(scale * 3) // 2 * 2 + 1
    covered = cv2.blur(there.astype(np.float32), (size, size))[inner(mesh, int(scale * 2))]
    assert 0.2 < np.median(covered) < 0.75, "the photo is visible between the dots"
    assert covered.max() < 2 * np.median(covered)


def test_near_is_red_and_far_is_blue(model):
    mesh = mesh_of(model, yaw=20)
    result = draw.points(BLACK, [mesh]).astype(int)
    depth = draw.depth_px(BLACK, [mesh])
    warm = result[..., 2] - result[..., 0]
    dots = (result.max(axis=-1) > 150) & np.isfinite(depth)
    nearest, farthest = (depth[dots] > np.percentile(depth[dots], 95)), (depth[dots] < np.percentile(depth[dots], 5))
    assert np.median(warm[dots][nearest]) > 80
    assert np.median(warm[dots][farthest]) < -50


def test_a_nearer_face_is_drawn_over_a_farther_one(model):
    noise = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    near, far = mesh_of(model, scale=16), mesh_of(model, yaw=30, scale=9, at=(300.0, 260.0, 500.0))
    one, other, alone = (draw.points(noise, meshes) for meshes in ([near, far], [far, near], [near]))
    np.testing.assert_array_equal(one, other)
    bright = (draw.points(BLACK, [near]) > 60).any(axis=-1) & (alone != noise).all(axis=-1)
    # the dots themselves; their rims are translucent
    assert (np.abs(one[bright].astype(int) - alone[bright]) <= 40).all(axis=-1).mean() > 0.95


def test_dots_of_a_face_that_is_much_larger_than_the_image(astronaut, aligner):
    mesh = aligner.decoder.mesh(aligner(astronaut)[0])
    huge = replace(mesh, vertices=(mesh.vertices - (250, 120, 0)) * 1500 + (250, 120, 0))
    started = time.perf_counter()
    drawn = draw.points(astronaut, [huge])
    assert time.perf_counter() - started < 3
    assert drawn.shape == astronaut.shape


def test_one_large_dot_equals_dots_drawn_at_once():
    dot = dense._Dot(20.3, 4.0)
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    color = np.array([9, 90, 200], np.uint8)
    for center in ((5, 7), (-3, 30), (79, 59), (40, 30)):
        one, other = image.copy(), image.copy()
        dense._draw_dots(other, np.array([center]), dot, color[None])
        dense._draw_dot(one, np.array(center), dot, color)
        assert np.abs(one.astype(int) - other).max() <= 1
        assert not np.array_equal(one, image)


def test_no_vertex_faces_the_viewer():
    corners = np.float32([[100, 100, 5], [100, 300, 5], [300, 100, 5]])
    assert draw.points(BLACK, [Mesh(corners, np.int32([[0, 1, 2]]))]).any()
    np.testing.assert_array_equal(draw.points(BLACK, [Mesh(corners, np.int32([[0, 2, 1]]))]), BLACK)
