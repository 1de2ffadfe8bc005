import os
import platform
import subprocess
import sys

import pytest

from tddfa._shared.cores import available_cores, has_int8_dot_products


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write the lines of /proc/self/cgroup and files of control groups; return the arguments for them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(lines, **contents):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(lines)
        for name, content in contents.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return {"proc": tmp_path / "proc", "cgroups": tmp_path / "cgroup"}

    return write


def test_affinity_is_respected_where_there_is_no_quota(files, tmp_path):
    assert available_cores(proc=tmp_path / "none", cgroups=tmp_path / "none") == available_cores(**files("")) == 8


def test_without_affinity_all_cores_count(files, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores(**files("")) == 16


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("1000 100000\n", 1),
        ("max 100000\n", 8),
        ("9900000 100000\n", 8),
        ("200000 0\n", 8),
        ("nonsense", 8),
    ],
)
def test_the_quota_of_version_2(files, content, expected):
    assert available_cores(**files("0::/a/b\n", **{"a/b/cpu.max": content})) == expected


def test_the_least_of_the_groups_around_counts(files):
    quotas = {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "500000 100000"}
    assert available_cores(**files("0::/a/b\n", **quotas)) == 3


def test_in_a_container_the_path_of_the_host_is_not_there(files):
    assert available_cores(**files("0::/docker/123\n", **{"cpu.max": "150000 100000"})) == 2


@pytest.mark.parametrize(("quota", "expected"), [("400000", 4), ("-1", 8)])
@pytest.mark.parametrize("folder", ["cpu/a", "cpu,cpuacct/a", "cpu"])
def test_the_quota_of_version_1(files, quota, expected, folder):
    quotas = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}
    lines = "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n"
    assert available_cores(**files(lines, **quotas)) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_process_bound_to_one_core_has_one():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from tddfa._shared.cores import available_cores, has_int8_dot_products; print(available_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"1\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: A\nflags\t\t: fpu avx2 avx512_vnni fma\n", True),
        ("flags : fpu avx2 avx_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags\t\t: fpu avx2 fma\nmodel name : avx512_vnni\n", False),
        ("Features : fp asimd\n", False),
    ],
)
def test_processors_that_multiply_8_bit_numbers_fast(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert has_int8_dot_products(proc=tmp_path) == expected


@pytest.mark.parametrize(("system", "machine", "expected"), [("Darwin", "arm64", True), ("Windows", "AMD64", False)])
def test_processors_of_other_systems(tmp_path, monkeypatch, system, machine, expected):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert has_int8_dot_products(proc=tmp_path / "missing") == expected
