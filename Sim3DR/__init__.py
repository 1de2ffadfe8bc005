"""A software renderer for triangle meshes: rasterise once, interpolate anything.

`rasterize` says which triangle is seen at each pixel and where in it, `interpolate` blends any vertex
attribute over that (colour, depth, normals, texture coordinates), `vertex_normals` and `shade` give light,
`close_holes` and `lay` put it over a picture.
One frame holds for all: x right, y down, pixel centres at whole numbers, larger z is nearer to the viewer.
"""

from Sim3DR.lighting import Shade, shade
from Sim3DR.picture import close_holes, lay
from Sim3DR.raster import Raster, empty, interpolate, rasterize, vertex_normals

__all__ = ["Raster", "Shade", "close_holes", "empty", "interpolate", "lay", "rasterize", "shade", "vertex_normals"]
