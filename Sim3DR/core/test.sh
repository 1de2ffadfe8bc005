#!/bin/sh
# Build the core and its tests with the sanitisers, and run them. Needs a C++17 compiler and nothing else.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
run() {
    ${CXX:-c++} -std=c++17 -O1 -g -Wall -Wextra -Wpedantic -Werror -ffp-contract=off -pthread "$@" \
        "$here"/*.cpp -o "$build/test"
    "$build/test" | tee "$build/printed"
    [ -e "$build/first" ] || cp "$build/printed" "$build/first"
    cmp "$build/first" "$build/printed" # equal to the bit
}
memory="-fsanitize=address,undefined -fno-sanitize-recover=all"
run $memory
run -fsanitize=thread
# machines without AVX2, and others than x86-64
run $memory -DSIM3DR_NO_AVX2
run $memory -DSIM3DR_GNU_LANES
