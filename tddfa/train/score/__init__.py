"""Training of the face score alone: crops of known alignment error to the probability that the alignment is right."""
