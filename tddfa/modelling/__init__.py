"""Making of the open face model: the steps that lead to `configs/open_face.npz`."""
