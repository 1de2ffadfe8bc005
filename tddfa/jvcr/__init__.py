"""JVCR: 68 landmarks in 3D by joint voxel and coordinate regression (Zhang et al., ICPR 2018), without a face model.

A network predicts compact volumes of voxels from a crop, then points from the last volume. Inference needs only ONNX
Runtime; `tddfa.train.jvcr` trains the network.
"""
