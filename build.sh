#!/usr/bin/env bash
# Install into .venv. Nothing outside this folder is changed.
#   ./build.sh         install and compile
#   ./build.sh demo    also run the demo on an example photo
#   ./build.sh test    also run the whole test suite
set -euo pipefail
cd "$(dirname "$0")"

info() { printf 'build.sh: %s\n' "$*"; }
fail() { printf 'build.sh: error: %s\n' "$*" >&2; exit 1; }

task=${1:-}
case "$task" in
  "" | demo) extras="" ;;
  test) extras="[test]" ;;
  *) fail "expected demo, test or no argument, got '$task'" ;;
esac

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python; do
    if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
  done
fi
[ -n "$python" ] || fail "no Python found; install Python 3.10 or later, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "expected Python 3.10 or later, got $("$python" --version 2>&1); set PYTHON to another interpreter"
case "$(uname -s)" in
  Linux | Darwin)
    command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
      fail "no C++ compiler found; install one (Debian, Ubuntu: g++; Fedora: gcc-c++; macOS: xcode-select --install)" ;;
esac

[ -d .venv/bin ] || [ -d .venv/Scripts ] || "$python" -m venv .venv ||
  fail "cannot create the virtual environment (Debian, Ubuntu: apt install python3-venv)"
bin=.venv/bin
[ -d "$bin" ] || bin=.venv/Scripts
info "installing and compiling into .venv (a few minutes the first time)"
"$bin/python" -m pip install --quiet --disable-pip-version-check --editable ".$extras"

# opencv-python needs system libraries for windows, even if no window is opened.
if ! reason=$("$bin/python" -c 'import cv2' 2>&1); then
  info "opencv-python cannot be loaded: ${reason##*$'\n'}"
  info "replacing it with opencv-python-headless, which cannot open windows"
  "$bin/python" -m pip uninstall --quiet --yes opencv-python opencv-python-headless
  "$bin/python" -m pip install --quiet --disable-pip-version-check opencv-python-headless
  "$bin/python" -c 'import cv2' || fail "opencv-python-headless cannot be loaded either"
fi

case "$task" in
  demo) "$bin/python" demo.py -f examples/inputs/astronaut.jpg -o 3d ;;
  test) "$bin/python" -m pytest ;;
  *) info "done; try: $bin/python demo.py -f examples/inputs/astronaut.jpg -o 3d" ;;
esac
