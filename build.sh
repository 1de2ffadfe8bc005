#!/usr/bin/env bash
# Install into .venv. Nothing outside this folder is changed.
#   ./build.sh              install and compile
#   ./build.sh demo         also run the demo on an example photo
#   ./build.sh test         also run the whole test suite, on all cores
#   ./build.sh --headless   OpenCV without windows: needs no libraries of a desktop
#   ./build.sh --cpu        ONNX Runtime without CUDA: smaller
# The options combine with each other, with demo and with test. .venv keeps them; to undo one, delete .venv.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # 3DDFA_V2 has `sh ./build.sh`
set -euo pipefail
cd "$(dirname "$0")"

info() { printf 'build.sh: %s\n' "$*"; }
fail() { printf 'build.sh: error: %s\n' "$*" >&2; exit 1; }

task="" headless="" cpu=""
for word in "$@"; do
  case "$word" in
    --headless) headless=headless ;;
    --cpu) cpu=cpu ;;
    demo | test) [ -z "$task" ] || fail "expected demo or test, got both"; task=$word ;;
    *) fail "expected demo, test, --headless or --cpu, got '$word'" ;;
  esac
done

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python; do
    if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
  done
fi
[ -n "$python" ] || fail "no Python found; install Python 3.10 or later, or set PYTHON"
command -v "$python" >/dev/null 2>&1 || fail "no such program: $python; set PYTHON to another interpreter"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "expected Python 3.10 or later, got $("$python" --version 2>&1); set PYTHON to another interpreter"
case "$(uname -s)" in
  Linux | Darwin)
    command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
      fail "no C++ compiler found; install one (Debian, Ubuntu: g++; Fedora: gcc-c++; macOS: xcode-select --install)" ;;
esac

if [ ! -e .venv ]; then
  # an environment that is not whole would make every later run fail
  trap 'rm -rf .venv; exit 130' INT TERM
  "$python" -m venv .venv || {
    rm -rf .venv
    fail "cannot create the virtual environment (Debian, Ubuntu: apt install python3-venv)"
  }
  trap - INT TERM
fi
bin=.venv/bin
[ -d "$bin" ] || bin=.venv/Scripts
"$bin/python" -c "import pip" 2>/dev/null || fail ".venv has no Python with pip; delete the folder and run this again"
pip() { "$bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

there=" $("$bin/python" -c 'import importlib.metadata as m; print(*{str(d.metadata["Name"]).lower() for d in m.distributions()})') "
has() { case "$there" in *" $1 "*) ;; *) return 1 ;; esac; }
! has opencv-python-headless || headless=headless
! has onnxruntime || cpu=cpu
# Packages that share a folder overwrite each other's files: both have to go.
if [ -n "$headless" ] && has opencv-python; then pip uninstall --yes opencv-python opencv-python-headless; fi
if [ -n "$cpu" ] && has onnxruntime-gpu; then pip uninstall --yes onnxruntime-gpu onnxruntime; fi

info "installing and compiling into .venv (a few minutes the first time)"
if [ -z "$headless$cpu" ]; then
  pip install --editable "."
else
  pip install --requirement "requirements/$headless${headless:+${cpu:+-}}$cpu.txt"
  pip install --no-deps --editable .
fi
if [ "$task" = test ]; then
  # by name: the extra of tddfa would bring the packages that --headless and --cpu leave out
  requirements=$("$bin/python" -c '
import importlib.metadata
for line in importlib.metadata.requires("tddfa"):
    requirement, _, marker = line.replace(" ", "").partition(";")
    if marker[:7] == "extra==" and marker[8:-1] == "test":
        print(requirement)
')
  # shellcheck disable=SC2086  # one word for each
  pip install $requirements
fi

# opencv-python needs libraries of the system for windows, even if no window is opened.
if ! reason=$("$bin/python" -c '
import sys
from tddfa._shared.packages import reason
try:
    import cv2
except ImportError as error:
    sys.exit(reason(error))
' 2>&1); then
  info "OpenCV cannot be loaded: ${reason##*$'\n'}"
  info "replacing it with opencv-python-headless, as --headless does"
  pip uninstall --yes opencv-python opencv-python-headless
  pip install --requirement requirements/common.txt opencv-python-headless
  "$bin/python" -c 'import cv2' || fail "opencv-python-headless cannot be loaded either"
fi

case "$task" in
  demo) "$bin/python" demo.py -f examples/inputs/astronaut.jpg -o 3d ;;
  test)
    # a process takes up to 2 GB
    processes=$("$bin/python" -c '
import os
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
    cores = min(cores, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**31)
print(max(cores, 1))
')
    info "running the tests in $processes processes (some minutes)"
    # Unbuffered, so that a log shows the progress too. One thread each: the cores are taken by the other tests.
    # Compiled files are written, or every command that a test starts compiles all modules again.
    PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
      "$bin/python" -m pytest -n "$processes" --dist worksteal -p no:benchmark ;;
  *) info "done; try: $bin/python demo.py -f examples/inputs/astronaut.jpg -o 3d" ;;
esac
