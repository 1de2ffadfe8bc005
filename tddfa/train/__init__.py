"""Training: labels, data, networks, losses, loops and exports, behind the extra ``train`` (torch).

Modules that make data (`shards`, `data`, `augment`, `profiling`, ...) need no torch.
"""
