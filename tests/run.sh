#!/bin/sh
# tests/run.sh [PYTEST ARGUMENT...]: set up and run all tests; with arguments only pytest, with those.
#   sudo tests/run.sh                    everything
#   tests/run.sh                         everything that needs no root; it says what it left out
#   tests/run.sh tests/server/store      one folder, in an environment that is already set up
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."

say() { printf '\n== %s\n' "$*"; }

# What the tests of the node need from the distribution: program or file, package.
NEEDED='containerd:containerd runc:runc nft:nftables ip:iproute2 conntrack:conntrack musl-gcc:musl-tools strace:strace zstd:zstd nginx:nginx-light
busybox:busybox-static faketime:faketime qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mkfs.ext4:e2fsprogs cpio:cpio cc:gcc systemd-nspawn:systemd-container openssl:openssl curl:curl
/usr/include/zstd.h:libzstd-dev /usr/include/nftables/libnftables.h:libnftables-dev'

install_packages() {
    missing=
    for pair in $NEEDED; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || [ -e "${pair%%:*}" ] || missing="$missing ${pair#*:}"
    done
    command -v kubectl >/dev/null 2>&1 || missing="$missing kubernetes-client"
    [ -n "$missing" ] || return 0
    say "Installing$missing"
    apt-get update -qq
    # Their services are not wanted: edgek starts a containerd of its own.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || { rm -f /usr/sbin/policy-rc.d; return 1; }
    rm -f /usr/sbin/policy-rc.d
}

if [ "$(id -u)" = 0 ]; then
    if command -v apt-get >/dev/null 2>&1; then install_packages; else say 'No apt-get here: tests that miss a program will say so'; fi
else
    say 'Not root: tests marked root, node and qemu are left out. sudo tests/run.sh runs them'
fi

if [ ! -x .venv/bin/pytest ] || [ pyproject.toml -nt .venv/.ready ]; then
    say 'Setting up .venv'
    python3 -m venv .venv || { echo 'python3 cannot make a virtual environment: install python3-venv (Debian: apt-get install python3-venv)' >&2; exit 1; }
    .venv/bin/pip install -q --disable-pip-version-check -e '.[test]'
    touch .venv/.ready
fi

if [ $# -gt 0 ]; then exec .venv/bin/pytest "$@"; fi

say 'ruff'
.venv/bin/ruff check edgek tests packaging
.venv/bin/ruff format --check edgek tests packaging
say 'mypy'
.venv/bin/mypy
say 'import contracts'
.venv/bin/lint-imports
say 'tests'
exec .venv/bin/pytest
