#!/bin/sh
# enter.sh BASE SOURCE COMMAND...: run a command in the Debian at BASE/root, this checkout being at its own place in there. For targets.py, which gives it
# a mount namespace: nothing is left behind, and BASE stays as it is, below an overlay in memory.
set -eu
base=$1 source=$2 place=$1/inside
shift 2
mount --make-rprivate /
mount -t tmpfs none "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=$base/root,upperdir=$place/upper,workdir=$place/work" none "$place/root"
mkdir -p "$place/root$source"
mount --bind "$source" "$place/root$source"
mount -t proc none "$place/root/proc"
for each in dev sys; do mount --rbind "/$each" "$place/root/$each"; done
exec chroot "$place/root" "$@"
