"""Faces that move: blendshapes over a video, animated GLB files, Live Link Face, the VMC protocol, and retargeting."""

from tddfa.avatar.blendshapes import Blendshapes, RestingFace
from tddfa.avatar.performance import Performance, Performer
from tddfa.avatar.takes import is_take, open_take

__all__ = ["Blendshapes", "Performance", "Performer", "RestingFace", "is_take", "open_take"]
