#!/bin/sh
# sudo tests/bench/run.sh [NAME...] [--json FILE]: measure edgek and print a table beside the lines to reach.
set -eu
cd "$(dirname "$(readlink -f "$0")")/../.."
[ "$(id -u)" = 0 ] || { echo 'the benchmark runs a real node: sudo tests/bench/run.sh' >&2; exit 1; }
tests/run.sh --version >/dev/null # sets everything up
exec .venv/bin/python -m tests.bench "$@"
