#!/usr/bin/env bash
# Set up and run: everything goes into .venv, nothing outside this folder is changed.
#   ./build.sh         install and compile
#   ./build.sh demo    and align the example photo
#   ./build.sh test    and run the whole test suite
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'build.sh: %s\n' "$*"; }
fail() { printf 'build.sh: error: %s\n' "$*" >&2; exit 1; }

task=${1:-}
case "$task" in
  "" | demo) extras="" ;;
  test) extras="[test]" ;;
  *) fail "expected nothing, demo or test, got '$task'" ;;
esac

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python; do
    if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
  done
fi
[ -n "$python" ] || fail "no Python found; install Python 3.10 or later, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "expected Python 3.10 or later, got $("$python" --version 2>&1); set PYTHON to another one"
case "$(uname -s)" in
  Linux | Darwin)
    command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
      fail "no C++ compiler found; install one (Debian, Ubuntu: g++; Fedora: gcc-c++; macOS: xcode-select --install)" ;;
esac

[ -d .venv/bin ] || [ -d .venv/Scripts ] || "$python" -m venv .venv ||
  fail "the virtual environment could not be made (Debian, Ubuntu: apt install python3-venv)"
bin=.venv/bin
[ -d "$bin" ] || bin=.venv/Scripts
say "installing and compiling into .venv (the first time takes some minutes)"
"$bin/python" -m pip install --quiet --disable-pip-version-check --editable ".$extras"

# opencv-python opens windows, and needs the system's libraries for that even when it opens none.
if ! reason=$("$bin/python" -c 'import cv2' 2>&1); then
  say "opencv-python does not load here: ${reason##*$'\n'}"
  say "putting opencv-python-headless in its place: it does all but open windows"
  "$bin/python" -m pip uninstall --quiet --yes opencv-python opencv-python-headless
  "$bin/python" -m pip install --quiet --disable-pip-version-check opencv-python-headless
  "$bin/python" -c 'import cv2' || fail "opencv-python-headless does not load either"
fi

case "$task" in
  demo) "$bin/python" demo.py -f examples/inputs/astronaut.jpg -o 3d ;;
  test) "$bin/python" -m pytest ;;
  *) say "done; try: $bin/python demo.py -f examples/inputs/astronaut.jpg -o 3d" ;;
esac
