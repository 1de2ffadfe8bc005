"""Landmarks on 3D scans: 68 points of a mesh or a point cloud, by a graph network in two stages (2S-SGCN)."""
