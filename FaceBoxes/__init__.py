"""FaceBoxes: a CPU real-time face detector (Zhang et al., IJCB 2017)."""

from FaceBoxes.detector import Detections, Detector

__all__ = ["Detections", "Detector"]
