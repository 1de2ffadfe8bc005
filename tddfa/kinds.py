"""The names of what can be made of a face, for those that only speak of them; `tddfa.outputs` makes them."""

PICTURES = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "6dof")
"""Kinds that are pictures; those of a video too."""

MESHES = ("ply", "obj", "glb")
"""Kinds that are 3D files."""

KINDS = (*PICTURES, *MESHES)
