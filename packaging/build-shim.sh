#!/bin/sh
# Build the CNI shim for a packed file: edgek/cni/shim, static, 13 KB with musl. CC chooses the compiler, for another architecture say
# CC=aarch64-linux-gnu-gcc. A checkout does not need this: the agent compiles its own at its first start.
set -eu
here=$(dirname "$0")
for compiler in ${CC:-musl-gcc gcc cc}; do
    command -v "$compiler" >/dev/null || continue
    "$compiler" -Os -static -s -o "$here/../edgek/cni/shim" "$here/../edgek/cni/shim.c"
    exit 0
done
echo "no C compiler found; install musl-tools, or set CC" >&2
exit 1
