"""Memory of a process, as the system reports it."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform == "darwin":
    import resource


def peak_mb(pid: int | None = None) -> float | None:
    """Peak memory of a process so far, MB.

    Parameters
    ----------
    pid : int, optional
        The process. By default, this process.

    Returns
    -------
    float or None
        None where the system does not report it.
    """
    peak = _status("VmHWM", pid)
    if peak is None and pid is None and sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return peak


def resident_mb() -> float | None:
    """Memory that this process holds now, MB; None where the system does not report it."""
    return _status("VmRSS", None)


def _status(key: str, pid: int | None) -> float | None:
    # not ru_maxrss: on Linux it starts from the memory of the parent process
    try:
        text = Path(f"/proc/{'self' if pid is None else pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{key}:")]
    return int(values[0]) * 1024 / 1e6 if values else None
