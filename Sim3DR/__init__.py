"""A software renderer for triangle meshes: rasterise once, interpolate any vertex attribute.

`rasterize` finds the visible triangle of each pixel and the barycentric coordinates in it. `interpolate` blends any
vertex attribute over the raster: colour, depth, normals, texture coordinates. `render` does both in one pass, for depth
and bytes. `vertex_normals` and `shade` light the surface. `close_holes` and `composite` put it over an image.
`covered_window` is the part of an image under a mesh, `bounds` the box around it. All functions use one frame: x right,
y down, pixel centres at whole numbers, larger z is nearer to the viewer.
"""

from Sim3DR.compositing import close_holes, composite
from Sim3DR.lighting import Shade, shade
from Sim3DR.raster import Raster, bounds, covered_window, empty, interpolate, rasterize, vertex_normals
from Sim3DR.rendering import Rendering, render

__all__ = [
    "Raster",
    "Rendering",
    "Shade",
    "bounds",
    "close_holes",
    "composite",
    "covered_window",
    "empty",
    "interpolate",
    "rasterize",
    "render",
    "shade",
    "vertex_normals",
]
