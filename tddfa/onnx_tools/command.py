"""What the commands of this package share: a network is read, edited and written, or one line tells why not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tddfa._shared.files import write_atomic
from tddfa._shared.packages import reason


def convert(source: Path, target: Path, edit: Callable[[bytes], bytes]) -> int:
    """Write the edited content of a file to another one; return the exit status."""
    try:
        write_atomic(target, edit(source.read_bytes()))
    except (OSError, ValueError, ImportError) as error:
        return failed(error, source)
    return 0


def failed(error: Exception, file: Path | None = None) -> int:
    """Print an error about a file as one line, which names the file once; return the exit status."""
    text = " ".join(reason(error).split())
    is_named = file is None or (isinstance(error, OSError) and error.filename is not None)
    sys.stderr.write(f"tddfa: error: {text if is_named else f'{file}: {text}'}\n")
    return 1
