"""Face crops for recognition: aligned to a template, or frontalised."""

from tddfa.face_crops.aligned import align_face, alignment, five_points, ordered
from tddfa.face_crops.frontal import FrontalView, frontal_view, frontalise

__all__ = ["FrontalView", "align_face", "alignment", "five_points", "frontal_view", "frontalise", "ordered"]
