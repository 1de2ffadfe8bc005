"""Add the face model to a regressor: ``python -m tddfa.onnx_tools.with_vertices REGRESSOR FACE_MODEL OUT``.

The new file has the output ``vertices`` beside those of the regressor, computed for all crops of a batch by two matrix
products on the device of the model. If only few faces need vertices, the plain regressor is faster, because the
vertices of every face have to be copied back from the device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tddfa.model.face_model import FaceModel
from tddfa.onnx_tools.command import convert, failed
from tddfa.onnx_tools.graph import Graph, GraphError

_NEEDED = ("camera", "shape", "expression")


def with_vertices(model: bytes, face_model: FaceModel) -> bytes:
    """Add the output ``vertices`` (n, N, 3) float32, in px of the crop, to a regressor.

    ``vertices = camera[:, :3] @ (mean + shape @ shape_basis + expression @ expression_basis) + camera[:, 3]``, as
    `FaceModel.vertices` and `tddfa.geometry.camera.Camera.project` compute it. `tddfa.types.Roi.crop_to_image` maps
    them to px of the image.

    Parameters
    ----------
    model : bytes
        ONNX, with outputs ``camera`` (n, 3, 4), ``shape`` (n, s) and ``expression`` (n, e).
    face_model : FaceModel
        A face model with s shapes and e expressions.

    Returns
    -------
    bytes
        ONNX.

    Raises
    ------
    GraphError
        If `model` cannot be read, lacks one of these outputs, has ``vertices`` already, or has other counts than
        `face_model`.
    """
    graph = Graph(model)
    for name in _NEEDED:
        if name not in graph.outputs:
            raise GraphError(f"expected outputs {', '.join(_NEEDED)}, got {', '.join(graph.outputs)}")
    if "vertices" in graph.outputs:
        raise GraphError("the model has an output 'vertices' already")
    counts = graph.output_shape("shape")[-1], graph.output_shape("expression")[-1]
    known = face_model.shape_count, face_model.expression_count
    if counts != known:
        raise GraphError(
            f"expected the face model's {known[0]} shapes and {known[1]} expressions, got {counts[0]} and {counts[1]}"
        )
    size = len(face_model.mean)
    coefficients = graph.add("Concat", ["shape", "expression"], axis=1)
    basis = graph.constant(face_model.basis.reshape(len(face_model.basis), -1))
    points = graph.add("Gemm", [coefficients, basis, graph.constant(face_model.mean.reshape(-1))])
    points = graph.add("Reshape", [points, graph.constant([-1, size, 3], np.int64)])
    # (n, 3, 4) to (n, 4, 3): the first three rows rotate and scale, the last translates
    columns = graph.add("Transpose", ["camera"], perm=[0, 2, 1])
    first, last, end, rows = (graph.constant([k], np.int64) for k in (0, 3, 4, 1))
    turned = graph.add("MatMul", [points, graph.add("Slice", [columns, first, last, rows])])
    graph.add("Add", [turned, graph.add("Slice", [columns, last, end, rows])], ["vertices"])
    graph.declare("vertices", ["n", size, 3])
    return graph.to_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m tddfa.onnx_tools.with_vertices``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tddfa.onnx_tools.with_vertices",
        description="Add a face model to a regressor, which then has the output vertices.",
        allow_abbrev=False,
    )
    parser.add_argument("regressor", type=Path, metavar="REGRESSOR", help="regressor to read, .onnx")
    parser.add_argument("face_model", type=Path, metavar="FACE_MODEL", help="face model, .npz")
    parser.add_argument("target", type=Path, metavar="OUT", help="regressor to write, .onnx")
    options = parser.parse_args(arguments)
    try:
        face_model = FaceModel.load(options.face_model)
    except (OSError, ValueError) as error:
        return failed(error)
    return convert(options.regressor, options.target, lambda model: with_vertices(model, face_model))


if __name__ == "__main__":
    sys.exit(main())
