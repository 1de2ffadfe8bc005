"""How ``configs/open_face.npz`` is made: the second edition of the open face model from the first.

``python -m tddfa.modelling FIRST.npz SECOND.npz`` writes the same file, to the bit, each time;
on another processor, numbers may round differently.
"""
