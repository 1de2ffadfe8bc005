"""Made scans with known landmarks: heads as 3D scanners give them, for training and for tests."""

from tddfa.synthetic.scans.made import MadeScan, made_scan
from tddfa.synthetic.scans.settings import TRAINING_SCANS, ScanSettings

__all__ = ["TRAINING_SCANS", "MadeScan", "ScanSettings", "made_scan"]
