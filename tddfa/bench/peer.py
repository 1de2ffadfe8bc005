"""Another toolkit in its own process, which times one sample of a stage per request."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tddfa._shared.errors import TddfaError
from tddfa.bench.material import Material
from tddfa.bench.process_memory import peak_mb

DRIVER = Path(__file__).with_name("peers") / "driver.py"
"""Times the stages of a toolkit."""

# The first run of a checkout converts its networks, for which it loads torch.
_START_TIMEOUT = 600.0
_SAMPLE_TIMEOUT = 180.0
# A stage may crash the process in compiled code. It is restarted for the other stages, up to this number of starts.
_MAX_STARTS = 10


class PeerError(TddfaError):
    """A toolkit could not be started, or a stage of it failed."""


class Peer:
    """A running checkout of 3DDFA_V2, or MediaPipe's FaceMesh.

    Parameters
    ----------
    folder : Path or None
        The checkout of 3DDFA_V2, built as its README describes, with its weights. Its first run writes its networks as
        ``.onnx`` beside the weights. No other file is added. None is MediaPipe.
    material : Material
        The images.
    scratch : Path
        Folder for output files.
    python : str
        Python interpreter with the packages of the toolkit.
    threads : int, optional
        Maximum number of cores, on systems that can bind a process to cores. By default, all.
    gpu : bool
        Use the torch classes of 3DDFA_V2 on the GPU.

    Attributes
    ----------
    stages : tuple of str
        Names of the stages that it can time.
    network, config : str
        "onnx" or "torch", and the config in use; "FaceMesh", and the version of MediaPipe.
    onnx_error : str
        The reason, if the ONNX classes could not be used.

    Raises
    ------
    PeerError
        If it does not start.
    """

    def __init__(
        self,
        folder: Path | None,
        material: Material,
        scratch: Path,
        *,
        python: str = sys.executable,
        threads: int | None = None,
        gpu: bool = False,
    ) -> None:
        if folder is not None and not (folder / "TDDFA.py").is_file():
            raise PeerError(f"{folder}: expected a checkout of 3DDFA_V2, got a folder without TDDFA.py")
        self._folder = scratch if folder is None else folder
        # absolute, because the process starts in another folder
        self._python = str(Path(python).absolute()) if os.sep in python else python
        self._task = {
            "toolkit": "MediaPipe" if folder is None else "3DDFA_V2",
            "one": str(material.one),
            "many": str(material.many),
            "frames": [str(path) for path in material.frames],
            "one_boxes": material.one_boxes,
            "many_boxes": material.many_boxes,
            "scratch": str(scratch),
            "threads": threads,
            "gpu": gpu,
        }
        self._starts = 0
        self._process, about = self._start()
        self.stages = tuple(str(name) for name in about.get("stages", ()))
        self.network, self.config, self.onnx_error = (
            str(about.get(key, "")) for key in ("network", "config", "onnx_error")
        )

    def _start(self) -> tuple[Process, dict[str, Any]]:
        if self._starts >= _MAX_STARTS:
            raise PeerError(f"the process ended {self._starts} times")
        self._starts += 1
        process = Process(self._python, self._folder, DRIVER)
        try:
            return process, process.request(self._task, _START_TIMEOUT)
        except BaseException:
            process.close()
            raise

    def sample(self, stage: str) -> float:
        """Time one sample of a stage, seconds per call.

        Raises
        ------
        PeerError
            If the stage fails. Other stages can still be timed.
        """
        if self._process.ended:
            self._process.close()
            self._process, _ = self._start()
        answer = self._process.request({"stage": stage}, _SAMPLE_TIMEOUT)
        if not isinstance(answer.get("seconds"), (int, float)):
            raise PeerError(f"expected an answer with seconds, got {answer}")
        return float(answer["seconds"])

    def sample_process(self) -> float:
        """Time a new process that writes the ``3d`` image of one photo, from start to exit, seconds.

        Raises
        ------
        PeerError
            If it fails.
        """
        started = time.perf_counter()
        process = Process(self._python, self._folder, DRIVER)
        try:
            process.request({**self._task, "once": True}, _START_TIMEOUT)
            process.wait(_SAMPLE_TIMEOUT)
            return time.perf_counter() - started
        finally:
            process.close()

    def peak_mb(self) -> float | None:
        """Peak memory of the process so far, MB; None where the system does not report it."""
        return peak_mb(self._process.pid)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Process:
    """A running driver. Requests and answers are one line of JSON each.

    Parameters
    ----------
    python : str
        The interpreter.
    folder : Path
        Working folder.
    driver : Path
        Python source: one of `tddfa.bench.peers`.

    Raises
    ------
    PeerError
        If the interpreter cannot be run.
    """

    def __init__(self, python: str, folder: Path, driver: Path) -> None:
        # The text of the driver, not its path: so Python searches the checkout for modules, not this package.
        code = driver.read_text(encoding="utf-8")
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - see close()
        try:
            self._process = subprocess.Popen(
                [python, "-c", code],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=_environment(),
            )
        except OSError as error:
            self._errors.close()
            raise PeerError(f"{python}: cannot be run: {error.strerror or error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._output = self._process.stdin, self._process.stdout
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.pid = self._process.pid
        self.ended = False

    def _listen(self) -> None:
        # in a thread, because reading a pipe with a timeout is not possible otherwise on Windows
        for line in self._output:
            self._answers.put(line)
        self._answers.put(None)

    def request(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a message and wait for its answer; raises PeerError without one."""
        with suppress(OSError):  # the process has ended, which the missing answer shows
            self._requests.write(f"{json.dumps(message)}\n")
            self._requests.flush()
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.ended = True
            raise PeerError(f"expected an answer within {timeout:.0f} s, got none") from None
        if line is None:
            self.ended = True
            self._process.wait()
            raise PeerError(f"the process ended with status {self._process.returncode}: {self._last_error()}")
        try:
            answer = dict(json.loads(line))
        except (ValueError, TypeError):
            self.ended = True
            raise PeerError(f"expected an answer in JSON, got {line[:80]!r}") from None
        if "error" in answer:
            raise PeerError(str(answer["error"]))
        return answer

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read()[-4000:].splitlines() if line.strip()]
        return lines[-1] if lines else "no output"

    def wait(self, timeout: float) -> None:
        """Wait until the process ends by itself; raises PeerError if it does not."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PeerError(f"the process did not end within {timeout:.0f} s") from None

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(timeout=0 if self.ended else 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=5)
        self._output.close()
        self._errors.close()


def _environment() -> dict[str, str]:
    """Environment in which Python leaves no files in the checkout and opens no window."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg", "KMP_DUPLICATE_LIB_OK": "True"}
