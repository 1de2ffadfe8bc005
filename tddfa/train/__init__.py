"""Training: labels, data, networks, losses, loops and exports, behind the extra ``train`` (torch).

The packages `data`, `labels` and `synthesis` need no torch.
"""
