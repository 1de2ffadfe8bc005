"""Alignment of millions of photos and videos on one machine or many, with Ray Data: ``tddfa scale``.

The sources are cut into shards in a stable order. A worker turns a shard into one Parquet file, and a manifest says
that it is done. A run that was killed goes on where it was; ``docs/scale.md`` describes the files.
"""

from tddfa.scale.engine import Cluster
from tddfa.scale.job import Job
from tddfa.scale.run import Report, run

__all__ = ["Cluster", "Job", "Report", "run"]
