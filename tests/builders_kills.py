"""A process that is killed at the n-th change of a file: used by tests of commands that write.

``python builders_kills.py MODULE ...`` imports modules and forks a command for each line on its input: `ForkingKiller`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

# In the place of libc's functions. Of the write at which the process dies, half is done.
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long seen;

static int regular(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static int last(void) {
  const char *at = getenv("TDDFA_TEST_KILL_AT");
  return at && atomic_fetch_add(&seen, 1) + 1 == atol(at);
}

static void die(void) { kill(getpid(), SIGKILL); }

ssize_t write(int fd, const void *data, size_t size) {
  if (regular(fd) && last()) {
    syscall(SYS_write, fd, data, size / 2);
    die();
  }
  return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (regular(fd) && last()) {
    syscall(SYS_writev, fd, parts, count / 2);
    die();
  }
  return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  if (regular(fd) && last()) {
    syscall(SYS_pwrite64, fd, data, size / 2, offset);
    die();
  }
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

int ftruncate64(int fd, off64_t length) {
  if (regular(fd) && last())
    die();
  return syscall(SYS_ftruncate, fd, length);
}

int rename(const char *from, const char *to) {
  if (last())
    die();
  return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
  if (last())
    die();
  return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("TDDFA_TEST_CHANGES");
  const int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
  char text[32];
  if (fd >= 0) {
    syscall(SYS_write, fd, text, snprintf(text, sizeof text, "%ld", atomic_load(&seen)));
    close(fd);
  }
}
"""


_KILL_AT = "TDDFA_TEST_KILL_AT"
_SECONDS = 600


class Killer:
    """Runs commands of ``tddfa`` that die at a change of a file: a write, a rename, a removal or a new length.

    Parameters
    ----------
    folder : Path
        For the library that counts the changes.
    """

    def __init__(self, folder: Path) -> None:
        if sys.platform != "linux":
            pytest.skip("needs Linux: functions of libc are replaced")
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("needs a C compiler (Debian, Ubuntu: apt install gcc)")
        source, library = folder / "kill.c", folder / "kill.so"
        self._counts = folder / "changes"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True, timeout=100)
        self._added = {
            "LD_PRELOAD": str(library),
            "TDDFA_TEST_CHANGES": str(self._counts),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def _environment(self) -> dict[str, str]:
        """That of the test: it may have set variables of its own."""
        return {**os.environ, **self._added}

    def run(self, command: Sequence[object], at: int, cwd: Path) -> int:
        """Run a command that dies at its `at`-th change, or to its end for 0; return its status, -9 for dead."""
        status, errors = self._run(list(map(str, command)), at, cwd)
        assert status in (0, 1, -9) and "Traceback" not in errors, errors
        return status

    def _run(self, words: list[str], at: int, cwd: Path) -> tuple[int, str]:
        words = [sys.executable, "-m", "tddfa", *words]
        environment = {**self._environment, _KILL_AT: str(at)}
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        return done.returncode, done.stderr

    def changes(self, command: Sequence[object], cwd: Path, status: int = 0) -> int:
        """Run a command to its end, which has this status; return the number of its changes."""
        self._counts.unlink(missing_ok=True)
        assert self.run(command, 0, cwd) == status
        return int(self._counts.read_text())


class ForkingKiller(Killer):
    """A `Killer` whose commands are forked from one process that has imported modules, which take seconds each time.

    Parameters
    ----------
    folder : Path
        As of `Killer`.
    modules : sequence of str
    """

    def __init__(self, folder: Path, modules: Sequence[str]) -> None:
        super().__init__(folder)
        self._server = subprocess.Popen(
            [sys.executable, __file__, *modules],
            env=self._environment,  # without the number of a change, so that those of imports do not count
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _run(self, words: list[str], at: int, cwd: Path) -> tuple[int, str]:
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps([words, at, str(cwd)]), file=self._server.stdin, flush=True)
        status, errors = json.loads(self._server.stdout.readline())
        return status, errors

    def close(self) -> None:
        """End the process."""
        self._server.communicate()


def _forked(words: list[str], at: int, cwd: str) -> tuple[int, str]:
    """Run a command in a child; return its status and what it printed."""
    reading, writing = os.pipe()  # a file would be one whose changes count
    child = os.fork()
    if child == 0:
        signal.alarm(_SECONDS)
        for descriptor in (1, 2):
            os.dup2(writing, descriptor)
        os.close(reading)
        os.close(writing)
        os.chdir(cwd)
        os.environ[_KILL_AT] = str(at)
        sys.argv = ["tddfa", *words]
        from tddfa.__main__ import main

        sys.exit(main())  # by the usual way, where the changes are told
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        printed = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), printed


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_forked(*json.loads(line))), flush=True)
