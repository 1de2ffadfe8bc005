"""An ONNX graph for editing: its nodes, its constants, and the producer and consumers of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.errors import TddfaError


class GraphError(TddfaError, ValueError):
    """A file is not an ONNX model, or not of the expected kind."""


class Graph:
    """Nodes and constants of an ONNX model, for editing.

    Parameters
    ----------
    model : bytes
        ONNX.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        In any order; `to_bytes` sorts them.
    constants : dict of str to ndarray
        Initialisers, and the outputs of ``Constant`` nodes.
    metadata : dict of str to str
        Metadata of the file.

    Raises
    ------
    GraphError
        If `model` cannot be read.
    """

    def __init__(self, model: bytes) -> None:
        import onnx
        from onnx import numpy_helper

        try:
            self._model = onnx.load_from_string(model)
            onnx.checker.check_model(self._model)
        except Exception as error:  # the errors of protobuf and the checker have no common class
            raise GraphError(f"not an ONNX model: {' '.join(str(error).split())}") from error
        self.metadata: dict[str, str] = {each.key: each.value for each in self._model.metadata_props}
        graph = self._model.graph
        self.constants: dict[str, NDArray[Any]] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.nodes: list[Any] = []
        for node in graph.node:
            value = attributes(node).get("value")
            if node.op_type == "Constant" and value is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                self.nodes.append(node)
        self.inputs: dict[str, Any] = {value.name: value for value in graph.input if value.name not in self.constants}
        self.outputs: list[str] = [value.name for value in graph.output]
        self._count = 0

    def producer(self, name: str) -> Any:
        """Node that produces a tensor; None for an input or a constant."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[Any]:
        """Nodes that take a tensor as an input."""
        return [node for node in self.nodes if name in node.input]

    def only_consumer(self, name: str, kind: str | None = None) -> Any:
        """The only node that takes a tensor; None if there are more, if it is an output, or has another `kind`."""
        consumers = self.consumers(name)
        if len(consumers) != 1 or name in self.outputs or (kind is not None and consumers[0].op_type != kind):
            return None
        return consumers[0]

    def weights(self, name: str) -> NDArray[np.float64]:
        """Return a constant that has finite floats.

        Raises
        ------
        GraphError
            If there is none of that name, or if it has other values.
        """
        values = self.constants.get(name)
        if values is None or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise GraphError(f"expected finite weights named {name!r:.80}, got others")
        return values.astype(np.float64)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        name = self._name("constant")
        self.constants[name] = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        return name

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **settings: Any) -> str:
        """Add a node; return the name of its first output."""
        from onnx import helper

        outputs = [self._name(kind.lower())] if outputs is None else outputs
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=outputs[0], **settings))
        return outputs[0]

    def remove(self, *nodes: Any) -> None:
        """Remove nodes."""
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def _name(self, kind: str) -> str:
        taken = {name for node in self.nodes for name in node.output} | set(self.constants) | set(self.inputs)
        while True:
            self._count += 1
            name = f"{kind}_{self._count}"
            if name not in taken:
                return name

    def max_batch(self) -> int | None:
        """Batch size that the input is fixed to; None if it is free."""
        fixed = self._model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        return int(fixed) or None

    def output_shape(self, name: str) -> list[int | str]:
        """Shape of an output in the file: numbers, and the names of free dimensions."""
        (value,) = (value for value in self._model.graph.output if value.name == name)
        return [int(dim.dim_value) or str(dim.dim_param) for dim in value.type.tensor_type.shape.dim]

    def declare(self, name: str, shape: Sequence[int | str]) -> None:
        """Make a tensor (float32) an output of the model."""
        from onnx import TensorProto, helper

        self._model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.outputs.append(name)

    def to_bytes(self) -> bytes:
        """Serialise the model: nodes that lead to no output are left out, the others sorted and checked."""
        import onnx
        from onnx import numpy_helper

        needed: list[Any] = []
        done: set[int] = set()

        def need(name: str) -> None:
            node = self.producer(name)
            if node is None or id(node) in done:
                return
            done.add(id(node))
            for source in node.input:
                need(source)
            needed.append(node)

        for name in self.outputs:
            need(name)
        used = {name for node in needed for name in node.input} | set(self.outputs)
        graph = self._model.graph
        for field in ("node", "initializer", "value_info"):
            graph.ClearField(field)
        graph.node.extend(needed)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        onnx.checker.check_model(self._model, full_check=True)
        data: bytes = self._model.SerializeToString(deterministic=True)
        return data


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a node by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
