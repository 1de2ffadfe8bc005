"""A checkout of 3DDFA_V2 in a process of its own, asked for a sample of a stage at a time."""

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
from tddfa.bench.memory import peak_mb

_DRIVER = Path(__file__).with_name("peers") / "threeddfa_v2.py"
# On its first run it converts its networks, and loads torch for that.
_START_SECONDS = 600.0
_SAMPLE_SECONDS = 180.0
# A stage may end the whole process (a crash in compiled code); it is started again for the others, so often.
_MAX_STARTS = 10


class PeerError(TddfaError):
    """The checkout did not do what it was asked for; the message says why."""


class Peer:
    """3DDFA_V2 at work.

    Parameters
    ----------
    folder : Path
        The checkout: with FaceBoxes, TDDFA.py, utils, configs and weights in it, built as its README says. On its own
        first run it writes its networks as ``.onnx`` beside its weights; nothing else is left in it.
    material : Material
        The pictures.
    scratch : Path
        A folder to write to.
    python : str
        The interpreter that has what it needs.
    threads : int or None
        So many cores at most, where the system can bind a process to some; None leaves it to itself.
    gpu : bool
        Its torch classes on the GPU.

    Attributes
    ----------
    stages : tuple of str
        What can be sampled.
    network, config, why_not_onnx : str
        "onnx" or "torch"; the config taken; and in the latter case, why it is not the former.

    Raises
    ------
    PeerError
        If it does not start.
    """

    def __init__(
        self,
        folder: Path,
        material: Material,
        scratch: Path,
        *,
        python: str = sys.executable,
        threads: int | None = None,
        gpu: bool = False,
    ) -> None:
        if not (folder / "TDDFA.py").is_file():
            raise PeerError(f"{folder}: expected a checkout of 3DDFA_V2, it has no TDDFA.py")
        self._folder = folder
        # it is started in another folder
        self._python = str(Path(python).absolute()) if os.sep in python else python
        self._task = {
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
        self.network, self.config, self.why_not_onnx = (
            str(about.get(key, "")) for key in ("network", "config", "why_not_onnx")
        )

    def _start(self) -> tuple[_Process, dict[str, Any]]:
        if self._starts >= _MAX_STARTS:
            raise PeerError(f"it ended {self._starts} times")
        self._starts += 1
        process = _Process(self._python, self._folder)
        try:
            return process, process.ask(self._task, _START_SECONDS)
        except BaseException:
            process.close()
            raise

    def sample(self, stage: str) -> float:
        """Seconds that a call of a stage takes now.

        Raises
        ------
        PeerError
            If the stage fails there; others may still be asked for.
        """
        if self._process.ended:
            self._process.close()
            self._process, _ = self._start()
        answer = self._process.ask({"stage": stage}, _SAMPLE_SECONDS)
        if not isinstance(answer.get("seconds"), (int, float)):
            raise PeerError(f"an answer without seconds: {answer}")
        return float(answer["seconds"])

    def cold(self) -> float:
        """Seconds that a process of its own takes from start to end: a photo to its 3d picture.

        Raises
        ------
        PeerError
            If it fails.
        """
        started = time.perf_counter()
        process = _Process(self._python, self._folder)
        try:
            process.ask({**self._task, "once": True}, _START_SECONDS)
            process.wait(_SAMPLE_SECONDS)
            return time.perf_counter() - started
        finally:
            process.close()

    def peak_mb(self) -> float | None:
        """The most memory it has held so far, MB; None where the system does not tell."""
        return peak_mb(self._process.pid)

    def close(self) -> None:
        """End it."""
        self._process.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Process:
    """The driver, running; a question is a line of JSON, and so is its answer."""

    def __init__(self, python: str, folder: Path) -> None:
        # Its text, not its path: the folder that Python then looks into first is the checkout, and not this package.
        code = _DRIVER.read_text(encoding="utf-8")
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
        self._questions, self._output = self._process.stdin, self._process.stdout
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.pid = self._process.pid
        self.ended = False

    def _listen(self) -> None:
        # a thread, for a wait with an end: Windows has no other for pipes
        for line in self._output:
            self._answers.put(line)
        self._answers.put(None)

    def ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any]:
        with suppress(OSError):  # it has ended, and the answer that does not come says so
            self._questions.write(f"{json.dumps(question)}\n")
            self._questions.flush()
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.ended = True
            raise PeerError(f"no answer in {timeout:.0f} s") from None
        if line is None:
            self.ended = True
            self._process.wait()
            raise PeerError(f"it ended with status {self._process.returncode}: {self._last_words()}")
        try:
            message = dict(json.loads(line))
        except (ValueError, TypeError):
            self.ended = True
            raise PeerError(f"an answer that is no JSON: {line[:80]!r}") from None
        if "error" in message:
            raise PeerError(str(message["error"]))
        return message

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read()[-4000:].splitlines() if line.strip()]
        return lines[-1] if lines else "and said nothing"

    def wait(self, timeout: float) -> None:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PeerError(f"it did not end in {timeout:.0f} s") from None

    def close(self) -> None:
        with suppress(OSError):
            self._questions.close()
        try:
            self._process.wait(timeout=0 if self.ended else 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=5)
        self._output.close()
        self._errors.close()


def _environment() -> dict[str, str]:
    """Nothing is to be left in the checkout, and no window is to be opened."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg", "KMP_DUPLICATE_LIB_OK": "True"}
