"""Face crops for recognition: aligned to a template, or frontalised."""

from tddfa.face_crops.aligned import align_face, alignment, five_points, ordered
from tddfa.face_crops.frontal import frontalise

__all__ = ["align_face", "alignment", "five_points", "frontalise", "ordered"]
