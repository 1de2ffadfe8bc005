"""ONNX files, edited: optimised, quantised, or with the face model inside. Needs the extra ``convert`` (onnx)."""
