"""The cores that this process may use: their number, and whether they multiply 8-bit numbers fast."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def available_cores(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the cores that the process may use: those of its affinity, and no more than its container's quota.

    ``os.cpu_count()`` counts the cores of the machine. More threads than available cores wait for each other.

    Parameters
    ----------
    proc, cgroups : Path
        Where Linux has its files on processes and control groups.

    Returns
    -------
    int
        1 or more. A quota of two and a half cores counts as three.

    Examples
    --------
    >>> 1 <= available_cores() <= os.cpu_count()
    True
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        count = len(os.sched_getaffinity(0))
    quotas = (math.ceil(quota) for quota in _quotas(proc, cgroups))
    return max(min((count, *quotas)), 1)


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """Quotas, in cores, of the control groups of this process and of those around them."""
    for hierarchy, controllers, group in _groups(proc):
        if hierarchy == "0":  # version 2
            roots, read = [cgroups, cgroups / "unified"], _quota_of_version_2
        elif "cpu" in controllers.split(","):
            roots, read = [cgroups / "cpu", cgroups / controllers], _quota_of_version_1
        else:
            continue
        inside = Path(group.lstrip("/"))
        # in a container the path may be that of the host; its root is then that of the container
        folders = {root / folder for root in roots for folder in (inside, *inside.parents)}
        for folder in folders:
            quota = read(folder)
            if quota is not None:
                yield quota


def _groups(proc: Path) -> Iterator[list[str]]:
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    yield from (parts for line in lines if len(parts := line.split(":", 2)) == 3)


def _quota_of_version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else _ratio(quota, period)
    except (OSError, ValueError):
        return None


def _quota_of_version_1(folder: Path) -> float | None:
    try:
        return _ratio(
            *((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period"))
        )
    except (OSError, ValueError):
        return None


def _ratio(quota: str, period: str) -> float | None:
    """Divide a quota by its period; None if there is no limit, which version 1 writes as -1."""
    return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None


def has_int8_dot_products(*, proc: Path = Path("/proc")) -> bool:
    """Whether the processor has instructions for sums of products of 8-bit numbers: VNNI, or Arm's dot product.

    With them, 8-bit networks take about half the time; without them, 8-bit networks may take longer than float ones.
    They are detected on Linux and on Apple's processors; elsewhere, the result is False.

    Examples
    --------
    >>> has_int8_dot_products() in (True, False)
    True
    """
    try:
        text = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return (platform.system(), platform.machine()) == ("Darwin", "arm64")
    lines = (line.partition(":") for line in text.splitlines())
    names = {flag for key, _, flags in lines if key.strip() in ("flags", "Features") for flag in flags.split()}
    return bool(names & {"avx512_vnni", "avx_vnni", "asimddp"})
