"""Tools that edit ONNX files: optimise, quantise, add the face model. They need the extra ``convert`` (onnx)."""
