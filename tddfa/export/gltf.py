"""Binary glTF (GLB) as a tree and a buffer: read, extended, written.

No package of the extras writes what moving faces need (trimesh has neither morph targets nor animations, pygltflib has
the tree alone), and what is needed is little: this module.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.reading.text import parse_json

GENERATOR = "tddfa"
"""The program that made a file, in its ``asset``."""

VERTICES, INDICES = 34962, 34963
"""Targets of buffer views: attributes of vertices, and vertex indices."""

_COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_MAGIC, _VERSION = b"glTF", 2
_MAX_JSON_BYTES = 16 << 20  # in memory, a tree may take 25 times as much


class Gltf:
    """A GLB file: its JSON tree, and the bytes that the tree refers to.

    Parameters
    ----------
    tree : dict, optional
        Of a file that is extended.
    blob : bytes
        Its buffer.

    Examples
    --------
    >>> from tddfa.export.gltf import Gltf
    >>> gltf = Gltf()
    >>> gltf.add("nodes", {"name": "face"})
    0
    >>> Gltf.decode(gltf.encode()).tree["nodes"]
    [{'name': 'face'}]
    """

    def __init__(self, tree: dict[str, Any] | None = None, blob: bytes = b"") -> None:
        self.tree: dict[str, Any] = {"asset": {"version": "2.0", "generator": GENERATOR}} if tree is None else tree
        self._parts = [blob]
        self._size = len(blob)

    @classmethod
    def decode(cls, data: bytes) -> Gltf:
        """Read the bytes of a file.

        Raises
        ------
        ValueError
            If they are not those of a GLB file, version 2, with one buffer of its own at most.
        """
        chunks: list[tuple[bytes, bytes]] = []
        try:
            magic, version, length = struct.unpack_from("<4sII", data)
            at = 12
            while at + 8 <= min(length, len(data)):
                size, kind = struct.unpack_from("<I4s", data, at)
                chunks.append((kind, data[at + 8 : at + 8 + size]))
                at += 8 + size
            whole = magic == _MAGIC and version == _VERSION and at == length <= len(data)
            text = chunks[0][1] if whole and chunks[0][0] == b"JSON" else b""
        except (struct.error, IndexError):
            text = b""
        if len(text) > _MAX_JSON_BYTES:
            raise ValueError(f"expected at most {_MAX_JSON_BYTES >> 20} MiB of JSON, got {len(text) >> 20} MiB")
        try:
            tree = parse_json(text.decode())
        except ValueError:
            tree = None
        if not isinstance(tree, dict):
            raise ValueError("not a complete binary glTF file (.glb), version 2")
        blob = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else b""
        buffers = tree.get("buffers", [])
        if not isinstance(buffers, list) or not all(isinstance(buffer, dict) for buffer in buffers):
            raise ValueError("not a complete binary glTF file (.glb), version 2: its buffers are damaged")
        if len(buffers) > 1 or any("uri" in buffer for buffer in buffers):
            raise ValueError("expected a .glb with one buffer of its own, got several buffers or other files")
        # the chunk is padded; the buffer is not
        length = buffers[0].get("byteLength") if buffers else 0
        if not isinstance(length, int) or not 0 <= length <= len(blob):
            raise ValueError(f"a damaged .glb: it claims a buffer of {length!r} bytes, and has {len(blob)}")
        return cls(tree, blob[:length])

    @property
    def blob(self) -> bytes:
        """The buffer."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def add(self, key: str, item: dict[str, Any]) -> int:
        """Append an item to a list of the tree; return its index."""
        listed = self.tree.setdefault(key, [])
        listed.append(item)
        return len(listed) - 1

    def use(self, extension: str) -> None:
        """Declare an extension that a reader must have."""
        for key in ("extensionsUsed", "extensionsRequired"):
            if extension not in self.tree.setdefault(key, []):
                self.tree[key].append(extension)

    def view(self, data: bytes, **fields: Any) -> int:
        """Append bytes to the buffer; return the index of their view, with further fields such as ``byteStride``."""
        padding = -self._size % 4
        self._parts += [bytes(padding), data]
        at = self._size + padding
        self._size = at + len(data)
        return self.add("bufferViews", {"buffer": 0, "byteOffset": at, "byteLength": len(data), **fields})

    def accessor(
        self, array: NDArray[Any], *, target: int | None = None, normalized: bool = False, bounds: bool = False
    ) -> int:
        """Append numbers to the buffer; return the index of their accessor.

        Parameters
        ----------
        array : ndarray (n,) or (n, k)
            Of float32 or integers; a row is an element. Elements of vertices are padded to multiples of 4 bytes.
        target : int, optional
            `VERTICES` or `INDICES`.
        normalized : bool
            Integers stand for fractions of the largest one.
        bounds : bool
            Store the smallest and the largest element too.
        """
        fields: dict[str, Any] = {} if target is None else {"target": target}
        stored = array
        width = array.dtype.itemsize * (1 if array.ndim == 1 else array.shape[1])
        if target == VERTICES and width % 4:
            stored = np.zeros((len(array), array.shape[1] + (-width % 4) // array.dtype.itemsize), array.dtype)
            stored[:, : array.shape[1]] = array
            fields["byteStride"] = width + -width % 4
        return self.add(
            "accessors",
            {
                "bufferView": self.view(np.ascontiguousarray(stored).tobytes(), **fields),
                **self._described(array, len(array), normalized=normalized, bounds=bounds),
            },
        )

    def sparse(
        self,
        count: int,
        indices: NDArray[np.unsignedinteger],
        values: NDArray[Any],
        bounds: tuple[NDArray[Any], NDArray[Any]],
    ) -> int:
        """Append the accessor of `count` normalized elements that are 0 but for some.

        Parameters
        ----------
        count : int
            Number of elements.
        indices : ndarray (m,)
            Those that are not 0, ascending.
        values : ndarray (m, k)
            Integers, as fractions of the largest one.
        bounds : tuple of ndarray (k,)
            The smallest and the largest of all elements, by component.
        """
        accessor = self._described(values, count, normalized=True, bounds=False)
        accessor["min"], accessor["max"] = (end.tolist() for end in bounds)
        if len(indices):
            accessor["sparse"] = {
                "count": len(indices),
                "indices": {
                    "bufferView": self.view(indices.tobytes()),
                    "componentType": _COMPONENTS[indices.dtype.str[1:]],
                },
                "values": {"bufferView": self.view(values.tobytes())},
            }
        return self.add("accessors", accessor)

    @staticmethod
    def _described(array: NDArray[Any], count: int, *, normalized: bool, bounds: bool) -> dict[str, Any]:
        described: dict[str, Any] = {
            "componentType": _COMPONENTS[array.dtype.str[1:]],
            "count": count,
            "type": _TYPES[1 if array.ndim == 1 else array.shape[1]],
        }
        if normalized:
            described["normalized"] = True
        if bounds:
            described["min"] = np.atleast_1d(array.min(axis=0)).tolist()
            described["max"] = np.atleast_1d(array.max(axis=0)).tolist()
        return described

    def encode(self) -> bytes:
        """The bytes of the file."""
        tree = dict(self.tree)
        blob = self.blob
        if blob:
            tree["buffers"] = [{"byteLength": len(blob)}]
        text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        end = bytes(-len(blob) % 4)
        binary = [struct.pack("<I4s", len(blob) + len(end), b"BIN\0"), blob, end] if blob else []
        total = 12 + 8 + len(text) + sum(map(len, binary))
        return b"".join(
            [struct.pack("<4sII", _MAGIC, _VERSION, total), struct.pack("<I4s", len(text), b"JSON"), text, *binary]
        )
