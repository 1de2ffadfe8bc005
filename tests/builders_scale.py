"""What a run has left in its folder."""

import json
from pathlib import Path


def faces(out):
    """Rows of all faces, in the order of the shards."""
    import fsspec
    import pyarrow.parquet

    files, root = fsspec.core.url_to_fs(str(out))
    names = sorted(files.ls(f"{root}/faces", detail=False))
    return [row for name in names for row in pyarrow.parquet.read_table(name, filesystem=files).to_pylist()]


def errors(out):
    """Path -> reason."""
    import fsspec
    import pyarrow.parquet

    files, root = fsspec.core.url_to_fs(str(out))
    table = pyarrow.parquet.read_table(f"{root}/errors.parquet", filesystem=files)
    return {row["path"]: row["reason"] for row in table.to_pylist()}


def manifests(out):
    return [json.loads(path.read_text()) for path in sorted(Path(out, "_tddfa/done").iterdir())]


def schema(out):
    """Columns of the faces."""
    import pyarrow.parquet

    return pyarrow.parquet.read_schema(Path(out) / "faces/part-00000000.parquet")


def sorted_rows(rows):
    """Rows in an order of their own."""
    return sorted(rows, key=lambda row: (row["path"], row["frame"] or 0, row["face"]))
