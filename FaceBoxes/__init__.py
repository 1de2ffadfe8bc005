"""FaceBoxes: a CPU real-time face detector (Zhang et al., IJCB 2017)."""

from FaceBoxes.anchors import Anchors
from FaceBoxes.detections import Detections
from FaceBoxes.detector import Detector

__all__ = ["Anchors", "Detections", "Detector"]
