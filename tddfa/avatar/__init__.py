"""Faces that move: blendshapes over a video, animated GLB files, Live Link Face, the VMC protocol, and retargeting."""

from tddfa.avatar.blendshapes import Blendshapes, RestingFace

__all__ = ["Blendshapes", "RestingFace"]
