import numpy as np

from tddfa.scan.mesh import Scan
from tddfa.scan.views import drawable, simplified, view


def test_pixels_are_lifted_back_to_the_surface(head, rng):
    rotation = head.rotation.T
    seen = view(head.scan, rotation, head.landmarks.mean(axis=0), 1.2, 320)
    placed = seen.pixels(head.landmarks[27:36])
    points, there = seen.lifted(placed[:, :2])
    assert there.all()
    assert np.linalg.norm(points - head.landmarks[27:36], axis=1).max() < 4
    _, outside = seen.lifted(np.array([[-5.0, 10], [1, 1]]))
    assert not outside.any()


def test_a_cloud_looks_like_its_mesh(head):
    rotation, centre = head.rotation.T, head.landmarks.mean(axis=0)
    cloud = drawable(Scan(head.scan.vertices, np.zeros((0, 3), int)))
    of_mesh, of_cloud = (view(scan, rotation, centre, 1.0, 240) for scan in (head.scan, cloud))
    both = of_mesh.raster.mask & of_cloud.raster.mask
    assert both.sum() > 0.9 * of_mesh.raster.mask.sum()
    assert np.median(np.abs(of_mesh.raster.depth[both] - of_cloud.raster.depth[both])) < 1.0


def test_a_simplified_mesh_has_the_same_shape(head):
    small = simplified(head.scan, 40)
    assert len(small.vertices) < 0.5 * len(head.scan.vertices)
    assert abs(small.areas.sum() / head.scan.areas.sum() - 1) < 0.1
