#!/bin/sh
# Build one file that needs nothing of the machine it runs on: dist/edgek-<version>-linux-<arch>.
#
#     packaging/build.sh [--arch amd64|arm64] [--pinned] [--images DIR] [--with-kubectl FILE] [--sign KEY] [--level 1-19]
#
# --arch ARCH         what it is for; this kind of machine, unless it is said. For another one it needs root: what has to run there runs under qemu, in a
#                     Debian that is laid out below /var/cache/edgek-build (EDGEK_BUILD_CACHE) and kept
# --pinned            what comes from Debian is what bundled.toml names, by checksum, and so is what compiles: two builds on different days are the same
#                     bytes. It needs root, and a Debian as above. Without it, it is what this machine has installed
# --images DIR        image tars to take along; every node that starts from the file has them
# --with-kubectl FILE a kubectl to take along, as `edgek kubectl` and, by a symlink of that name, as kubectl
# --sign KEY          a private Ed25519 key (openssl genpkey -algorithm ed25519 -out KEY): whoever installs by the install.sh that is laid beside the file
#                     knows that it comes from the key's owner
# --level N           how hard zstd tries: 19 for what is given away, 3 for trying something out
#
# Wanted: Debian 12 or its like (the file then runs where glibc is 2.36 or newer), Go 1.21 or newer (it fetches the Go that containerd wants), and as
# root it installs the packages that are missing. What is bundled, in which version, is in onefile/bundled.toml.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-/usr/bin/python3}
packages="python3-venv libpython3.11 gcc musl-tools binutils libc6-dev linux-libc-dev libseccomp-dev libnftables-dev pkgconf zstd"

arch='' last=''
for word in "$@"; do
    case $word in --arch=*) arch=${word#--arch=} ;; esac
    [ "$last" != --arch ] || arch=$word
    last=$word
done
emulator=''
if [ "$arch:$(uname -m)" = arm64:x86_64 ]; then
    emulator=qemu-aarch64 packages="$packages gcc-aarch64-linux-gnu qemu-user-static binfmt-support debian-archive-keyring"
fi

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages:$missing; run: sudo apt-get install$missing" >&2
        exit 1
    fi
    apt-get update -q >/dev/null
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
fi
binfmt=/proc/sys/fs/binfmt_misc # where the kernel is told who runs programs of other architectures; in a container nobody does that at its start
if [ -n "$emulator" ] && [ ! -e $binfmt/$emulator ] && [ "$(id -u)" = 0 ]; then
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
    update-binfmts --enable $emulator
fi
if ! command -v go >/dev/null; then
    echo "there is no go on the PATH: containerd and runc are compiled from their modules. Install Go 1.21 or newer" >&2
    exit 1
fi
exec "$python" "$here/onefile" "$@"
