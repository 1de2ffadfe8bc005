import json
from dataclasses import replace

import pytest

from tddfa.bench.report import Report, Row, Variant
from tddfa.bench.timing import Timing


def timing(ms):
    return Timing(median=ms, lower=0.9 * ms, upper=1.2 * ms, minimum=0.8 * ms, count=5)


@pytest.fixture
def report():
    variants = [
        Variant("threads-1", "1 thread", threads=1),
        Variant("threads-2", "2 threads"),
        Variant("peer-threads-1", "3DDFA_V2, 1 thread", threads=1, baseline="threads-1", toolkit="3DDFA_V2"),
    ]
    rows = [
        Row("network.8", "network, batch 8", 8, {"threads-1": timing(8.0), "threads-2": timing(5.0)}),
        Row(
            "3d.1", "3d: 1 face", 1, {"threads-1": timing(4.0), "threads-2": timing(4.0), "peer-threads-1": timing(60)}
        ),
        Row("obj", "write .obj", 1, {"threads-1": timing(2.0), "threads-2": timing(2.0)}),
    ]
    return Report(
        {"images": 1000, "device": "cpu"}, variants, rows,
        failures={"obj peer-threads-1": "OSError: full"},
        peak_mb={"network.8": 80.4, "3d.1": "out of memory", "obj": None}, growth_mb=0.25,
    )  # fmt: skip


def test_table(report):
    lines = list(report.lines())
    head, network, surface, obj = lines[:4]
    assert "1 thread / 2 threads" in head
    assert "3DDFA_V2 / tddfa, 1 thread" in head
    assert "8.00 (7.20-9.60)" in network
    assert network.split()[-2:] == ["1.60", "80"]  # 8 / 5; the peer has no such stage
    assert surface.split()[-3:] == ["1.00", "15.00", "-"]
    assert " -  " in obj
    assert len({len(line) for line in lines[:4]}) == 1
    text = "\n".join(lines)
    assert "1 thread, cpu: 1000 (batch 8)" in text
    assert "2 threads, cpu: 1600 (batch 8)" in text
    assert "over 1000 images: +0.2 MB" in text
    assert "- 3DDFA_V2, 1 thread: obj: OSError: full" in text
    assert "- memory of 3d.1: out of memory" in text


def test_pools_of_threads_that_are_too_large_are_warned_of(report):
    assert report.warnings() == []
    busy = {name: replace(timing(4.0), cores=cores) for name, cores in (("threads-1", 1.9), ("threads-2", 2.0))}
    rows = [Row("decode.dense", "dense vertices", 1, busy), Row("crop", "crop", 1, {"threads-1": timing(1.0)})]
    peer = {"peer-threads-1": replace(timing(4.0), cores=9.0)}
    variants = [*report.variants[:2], Variant("threads-8", "8 threads", threads=8), report.variants[2]]
    over = replace(report, about={"available_cores": 4}, variants=variants, rows=[*rows, Row("3d.1", "3d", 1, peer)])
    expected = [
        "8 threads: more than the 4 cores that this process may use",
        "1 thread: a thread pool uses more cores than that in decode.dense (1.9)",
    ]
    assert over.warnings() == expected
    assert [line for line in over.lines() if "warning" in line] == [f"- warning: {line}" for line in expected]


def test_json(report, tmp_path):
    content = json.loads(report.save(tmp_path / "bench.json").read_text())
    assert content["about"]["images"] == 1000
    assert content["rows"][0]["timings"]["threads-2"] == {
        "median": 5.0, "lower": 4.5, "upper": 6.0, "minimum": 4.0, "count": 5, "cores": 0.0,
    }  # fmt: skip
    assert content["rows"][0]["faces_per_second"] == {"threads-1": 1000, "threads-2": 1600}
    assert content["rows"][1]["ratios"] == {"threads-1 / threads-2": 1, "peer-threads-1 / threads-1": 15}
    assert content["rows"][2]["ratios"]["peer-threads-1 / threads-1"] is None
    assert content["failures"] == {"obj peer-threads-1": "OSError: full"}
    assert content["peak_mb"]["obj"] is None


def test_a_peer_that_did_not_start():
    variants = [Variant("threads-2", "2 threads"), Variant("peer-threads-2", "3DDFA_V2", baseline="threads-2")]
    rows = [Row("read", "read", 1, {"threads-2": timing(1.0)})]
    lines = list(Report({}, variants, rows, failures={"* peer-threads-2": "no TDDFA.py"}).lines())
    assert lines[1].rstrip().endswith("-")
    assert "- 3DDFA_V2: all stages: no TDDFA.py" in lines


def test_equal_reasons_are_merged():
    variants = [
        Variant("threads-1", "1 thread"),
        Variant("threads-2", "2 threads"),
        Variant("peer", "peer", baseline="x"),
    ]
    failures = {
        "glb threads-1": "no trimesh",
        "glb threads-2": "no trimesh",
        "obj threads-1": "full",
        "obj peer": "full",
    }
    reasons = list(Report({}, variants, [], failures=failures).reasons())
    assert reasons == ["glb: no trimesh", "1 thread, peer: obj: full"]
