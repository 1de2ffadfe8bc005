"""Retargeting: what a face did in a video, as an animation of any avatar whose morph targets have ARKit's names."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.export.gltf import GENERATOR, Gltf
from tddfa.export.rig import Motion
from tddfa.geometry.rotation import quaternion_from_rotation

ANIMATION = "tddfa"
"""Name of the animation that is added."""

# a head bone: Head, mixamorig:Head, J_Bip_C_Head, head.x; not HeadTop_End
_HEAD = re.compile(r"(^|[^a-z])head([^a-z]x)?$", re.IGNORECASE)
_MAX_TARGETS = 8192  # of all faces: an animation has a number for each in each of its frames
_MAX_QUATERNION = 2.0  # of the numbers of a unit quaternion, with much tolerance
_SIDES = {"Left": "l", "Right": "r"}


def _key(name: str) -> str:
    """A name without its case, its separators and what is before its last dot (``blendShape1.jawOpen``)."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())


def shape_of_key(names: Sequence[str]) -> dict[str, int]:
    """The index of Apple's shape for each way in which avatars spell it.

    ``eyeBlinkLeft`` is also ``EyeBlinkLeft``, ``eye_blink_left``, ``eyeBlink_L`` and ``Face.eyeBlinkL``. A shape
    without a side may have two: ``browInnerUp_L`` and ``browInnerUp_R`` both follow ``browInnerUp``.

    Examples
    --------
    >>> from tddfa.avatar.retarget import shape_of_key
    >>> sorted(shape_of_key(["eyeBlinkLeft"]))
    ['eyeblinkl', 'eyeblinkleft']
    """
    spelled = {_key(name): index for index, name in enumerate(names)}
    for index, name in enumerate(names):
        for side, short in _SIDES.items():
            if name.endswith(side):
                spelled.setdefault(_key(name.removesuffix(side) + short), index)
    for index, name in enumerate(names):
        if not name.endswith(tuple(_SIDES)):
            for side in (*_SIDES, *_SIDES.values()):
                spelled.setdefault(_key(name + side), index)
    return spelled


def _target_names(mesh: dict[str, Any]) -> list[str]:
    """Names of the morph targets of a mesh; [] if it has none."""
    (first, *_) = mesh["primitives"]
    for holder in (mesh, first):
        named = (holder.get("extras") or {}).get("targetNames")
        if isinstance(named, list) and len(named) == len(first.get("targets", ())):
            return [str(name) for name in named]
    return []


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Raise `ValueError` about a tree of glTF with something else in the place of a node, a mesh or a name."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"a damaged .glb: its nodes or meshes are not valid: {reason}") from error


class Avatar:
    """An avatar in a GLB file, to which an animation is added.

    Parameters
    ----------
    data : bytes
        The file.
    names : sequence of str
        Apple's names, in the order of the weights of a motion.

    Attributes
    ----------
    driven : set of str
        Apple's names that some morph target has.
    head : str or None
        Name of the node that turns with the head: the head bone, or the only node with a face.

    Raises
    ------
    ValueError
        If it is not a GLB file, or none of its morph targets has one of Apple's names.
    """

    def __init__(self, data: bytes, names: Sequence[str]) -> None:
        self._gltf = Gltf.decode(data)
        # node -> for each of its morph targets the index of Apple's shape, or None
        self._faces: dict[int, list[int | None]] = {}
        with _fitting():
            named = self._find_faces(names)
        targets = sum(len(found) for found in self._faces.values())
        if targets > _MAX_TARGETS:
            raise ValueError(f"expected at most {_MAX_TARGETS} morph targets of all faces, got {targets}")
        if not self._faces:
            got = f"got {', '.join(named[:5])}{', …' if len(named) > 5 else ''}" if named else "got none with names"
            raise ValueError(f"expected morph targets with ARKit's names in extras.targetNames, {got}")
        self.driven = {names[shape] for found in self._faces.values() for shape in found if shape is not None}
        with _fitting():
            self._head = self._head_node()
            self.head = None if self._head is None else str(self._nodes[self._head].get("name", f"node {self._head}"))
            if self._head is not None:
                self._head_rotations(np.eye(3)[None])  # what is damaged is found before the work
            for index, found in self._faces.items():
                self._weights(index, len(found))

    def _find_faces(self, names: Sequence[str]) -> list[str]:
        """Find the nodes with faces, and what drives them; return the names of all morph targets."""
        shapes = shape_of_key(names)
        named = [_target_names(mesh) for mesh in self._gltf.tree.get("meshes", [])]
        found = [[shapes.get(_key(name)) for name in own] for own in named]  # once for all nodes that share a mesh
        is_face = [any(shape is not None for shape in own) for own in found]
        for index, node in enumerate(self._nodes):
            if "mesh" in node and is_face[node["mesh"]]:
                self._faces[index] = found[node["mesh"]]
        return sorted({name for own in named for name in own})

    def _weights(self, index: int, count: int) -> NDArray[np.float32]:
        """Weights (count,) of the morph targets of a node without the motion."""
        node = self._nodes[index]
        default = node.get("weights") or self._gltf.tree["meshes"][node["mesh"]].get("weights") or [0.0] * count
        return checked("weights", default, (count,))

    @property
    def _nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self._gltf.tree.get("nodes", [])
        return nodes

    def _head_node(self) -> int | None:
        named = [index for index, node in enumerate(self._nodes) if _HEAD.search(node.get("name", ""))]
        # a node with a matrix cannot be animated
        bones = [index for index in named if "mesh" not in self._nodes[index] and "matrix" not in self._nodes[index]]
        if bones:
            return bones[0]
        alone = [index for index in self._faces if not {"skin", "matrix"} & self._nodes[index].keys()]
        return alone[0] if len(alone) == len(self._faces) == 1 else None

    def _ancestors(self, node: int) -> Iterator[int]:
        """The parent of a node, its parent, and so on."""
        parents = {child: index for index, item in enumerate(self._nodes) for child in item.get("children", ())}
        seen = {node}
        while node in parents and parents[node] not in seen:
            node = parents[node]
            seen.add(node)
            yield node

    def _head_rotations(self, rotations: NDArray[np.float64]) -> NDArray[np.float32]:
        """Local rotations (f, 4) x, y, z, w of the head node that turn the head in the world as `rotations` (f, 3, 3).

        An avatar of glTF looks along z, one of VRM 0 along -z.
        """
        assert self._head is not None
        above = np.eye(3)
        for index in self._ancestors(self._head):
            above = _rotation(self._nodes[index]) @ above
        if "VRM" in self._gltf.tree.get("extensions", {}):
            above = np.diag([-1.0, 1.0, -1.0]) @ above
        # at rest, one of our own heads has the pose of its photo
        own = self._gltf.tree["asset"].get("generator") == GENERATOR
        rest = np.eye(3) if own else _rotation(self._nodes[self._head])
        local = np.swapaxes(above, 0, 1) @ rotations @ above @ rest
        quaternions = np.array([np.roll(quaternion_from_rotation(one), -1) for one in local], dtype=np.float32)
        for before, now in itertools.pairwise(quaternions):
            if before @ now < 0:
                now *= -1
        return quaternions

    def animated(self, motion: Motion) -> bytes:
        """The file with the motion as one more animation, ``tddfa``, that begins at 0 s.

        Parameters
        ----------
        motion : Motion
            Weights and rotations; positions are those of another head.

        Returns
        -------
        bytes
            Morph targets that are none of Apple's keep their weights.

        Raises
        ------
        ValueError
            If weights or rotations of the file are not those of its nodes.
        """
        with _fitting():
            return self._animated(motion)

    def _animated(self, motion: Motion) -> bytes:
        gltf = Gltf(_copy(self._gltf.tree), self._gltf.blob)
        keys = gltf.accessor((motion.times - motion.times[0]).astype(np.float32), bounds=True)
        channels: list[dict[str, Any]] = []
        samplers: list[dict[str, Any]] = []

        def add(node: int, path: str, values: NDArray[np.float32]) -> None:
            samplers.append({"input": keys, "output": gltf.accessor(values), "interpolation": "LINEAR"})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

        for index, found in self._faces.items():
            weights = np.tile(self._weights(index, len(found)), (len(motion.times), 1))
            for target, shape in enumerate(found):
                if shape is not None:
                    weights[:, target] = motion.weights[:, shape]
            add(index, "weights", weights.reshape(-1))
        if self._head is not None:
            x, y, z, w = motion.rotations.astype(np.float64).T
            add(self._head, "rotation", self._head_rotations(_matrices(x, y, z, w)))
        gltf.add("animations", {"name": ANIMATION, "channels": channels, "samplers": samplers})
        return gltf.encode()


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of a tree whose lists can be extended."""
    return {key: list(value) if isinstance(value, list) else value for key, value in tree.items()}


def _rotation(node: dict[str, Any]) -> NDArray[np.float64]:
    """Rotation (3, 3) of a node; a reflection if its scale or matrix mirrors."""
    if "matrix" in node:
        linear = np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T[:3, :3]
        u, _, vt = np.linalg.svd(linear)
        return np.asarray(u @ vt)
    quaternion = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    if not np.abs(quaternion).max() <= _MAX_QUATERNION:
        raise ValueError(f"expected unit quaternions as rotations of nodes, got {quaternion.tolist()}")
    mirrored = np.where(np.array(node.get("scale", (1, 1, 1)), dtype=np.float64) < 0, -1.0, 1.0)
    return np.asarray(_matrices(*quaternion[:, None])[0] * mirrored)


def _matrices(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], w: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) of unit quaternions."""
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
