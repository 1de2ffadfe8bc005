"""`Builder`: the nodes and constants of an ONNX network while it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.onnx_tools.optimise import optimise

# ONNX Runtime 1.18 and later can read these versions.
_OPSET, _IR_VERSION = 17, 8


class Builder:
    """Nodes and constants, each named by its number.

    Examples
    --------
    >>> builder = Builder()
    >>> x = builder.relu(builder.planes("image"))
    >>> data = builder.model("one", ("image", [1, "h", "w", 3]), {x: [1, 3, "h", "w"]}, "A rectifier.", "example")
    >>> len(builder.nodes), isinstance(data, bytes)
    (3, True)
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        from onnx import helper

        outputs = [f"{kind.lower()}{len(self.nodes)}"] if outputs is None else outputs
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))
        return outputs[0]

    def convolution(
        self, source: str, weight: NDArray[Any], bias: NDArray[Any], stride: int = 1, group: int = 1
    ) -> str:
        """Add a convolution of odd side, padded by half of it."""
        side = weight.shape[-1]
        return self.node(
            "Conv", [source, self.constant(weight), self.constant(bias)],
            kernel_shape=[side, side], strides=[stride, stride], pads=[side // 2] * 4, group=group,
        )  # fmt: skip

    def relu(self, source: str) -> str:
        """Add a rectifier."""
        return self.node("Relu", [source])

    def planes(self, source: str) -> str:
        """Convert images (n, h, w, 3) uint8 to (n, 3, h, w) float32."""
        return self.node("Cast", [self.node("Transpose", [source], perm=[0, 3, 1, 2])], to=1)

    def padded(self, source: str, multiple: int) -> str:
        """Pad images (n, h, w, c) with zeros at the right and at the bottom, to sides that are multiples."""
        beyond = self.node("Mul", [self.node("Shape", [source]), self.constant(-1, np.int64)])
        last = self.node("Mod", [beyond, self.constant([1, multiple, multiple, 1], np.int64)])
        return self.node("Pad", [source, self.node("Concat", [self.constant([0] * 4, np.int64), last], axis=0)])

    def both_signs(self, source: str) -> str:
        """C.ReLU (Shang et al., 2016): the rectified values and their rectified negatives."""
        return self.relu(self.node("Concat", [source, self.node("Neg", [source])], axis=1))

    def halved(self, source: str) -> str:
        """Add maximum pooling of 3 x 3 px with a stride of 2."""
        return self.node("MaxPool", [source], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def model(
        self,
        name: str,
        image: tuple[str, Sequence[Any]] | Mapping[str, tuple[Any, Sequence[Any]]],
        outputs: Mapping[str, Sequence[Any]],
        notes: str,
        producer: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """Serialise the network, checked and optimised (`tddfa.onnx_tools.optimise`).

        Parameters
        ----------
        name : str
            Name of the graph.
        image : tuple of str and sequence, or mapping
            Name and shape of the input, uint8; or of several inputs, with their dtypes:
            ``{"features": (np.float32, ["n", 6])}``.
        outputs : mapping of str to sequence
            Names and shapes of the outputs, float32.
        notes, producer : str
            Description and producer of the file.
        metadata : mapping of str to str, optional
            Metadata of the file.
        """
        from onnx import TensorProto, checker, helper

        inputs = {image[0]: (np.uint8, image[1])} if isinstance(image, tuple) else image
        graph = helper.make_graph(
            self.nodes,
            name,
            [
                helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
                for key, (dtype, shape) in inputs.items()
            ],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name=producer
        )
        model.doc_string = notes
        if metadata:
            helper.set_model_props(model, dict(metadata))
        checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return optimise(data)


def folded(
    weight: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    mean: NDArray[Any],
    variance: NDArray[Any],
    epsilon: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fold a BatchNorm into the convolution before it; return its weights (k, c, h, w) and bias (k,)."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return weight.astype(np.float64) * scale[:, None, None, None], beta - mean * scale
