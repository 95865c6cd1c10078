#!/bin/sh
# enter.sh BASE SHARED COMMAND...: run a command in the Debian at BASE/root, with the folder SHARED at its own place in there. For targets.py, which gives
# it a mount namespace: nothing is left behind, and BASE stays as it is, below an overlay in memory.
set -eu
base=$1 shared=$2 place=$1/inside
shift 2
mount --make-rprivate /
mount -t tmpfs none "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=$base/root,upperdir=$place/upper,workdir=$place/work" none "$place/root"
mkdir -p "$place/root$shared"
mount --bind "$shared" "$place/root$shared"
mount -t proc none "$place/root/proc"
for each in dev sys; do mount --rbind "/$each" "$place/root/$each"; done
exec chroot "$place/root" "$@"
