#!/bin/sh
# Build the core and its tests with the sanitisers, and run them. Needs a C++17 compiler and nothing else.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
${CXX:-c++} -std=c++17 -O1 -g -Wall -Wextra -Wpedantic -Werror \
    -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off \
    "$here/rasterize.cpp" "$here/test_rasterize.cpp" -o "$build/test_rasterize"
"$build/test_rasterize"
