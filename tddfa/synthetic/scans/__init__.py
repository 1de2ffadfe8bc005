"""Synthetic scans with known landmarks: heads as 3D scanners give them, for training and for tests."""

from tddfa.synthetic.scans.making import LabelledScan, synthetic_scan
from tddfa.synthetic.scans.settings import TRAINING_SCANS, ScanSettings

__all__ = ["TRAINING_SCANS", "LabelledScan", "ScanSettings", "synthetic_scan"]
