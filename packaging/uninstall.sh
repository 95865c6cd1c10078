#!/bin/sh
# edgek-uninstall [--keep-data | --stop-only]: take edgek away again: its processes, pods, mounts, links, addresses, nftables table, cgroups and files.
# Safe to run twice, and after an installation that failed half way. Packages of the distribution that were installed stay; it names them at the end.
#
#   --keep-data        leave the data directory (the cluster's state, images, volumes, backups) and the configuration
#   --stop-only        stop edgek and everything that it started, and leave what is installed: `edgek killall`
#   --node-only        take one node away that was started by hand, and leave the installed edgek and its service alone
#   EDGEK_DATA_DIR, EDGEK_RUN_DIR, EDGEK_KUBELET_DIR, EDGEK_POD_LOGS_DIR, EDGEK_CGROUP_ROOT    as edgek was started with
set -u

PREFIX=/usr/local/lib/edgek
CONFIG_DIR=/etc/edgek
BIN_DIR=/usr/local/bin SYSTEMD_DIR=/etc/systemd/system
# shellcheck source=/dev/null
[ ! -r $PREFIX/places ] || . $PREFIX/places
UNIT=$SYSTEMD_DIR/edgek.service
RC=/etc/init.d/edgek
LOG=/var/log/edgek.log

say() { printf '[edgek] %s\n' "$*"; }

keep='' node_only='' stop_only=''
for argument in "$@"; do
    case $argument in
    --keep-data) keep=1 ;;
    --node-only) node_only=1 ;;
    --stop-only) stop_only=1 ;;
    --help | -h) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "[edgek] $argument is unknown; $0 takes --keep-data, --stop-only and --node-only" >&2; exit 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || { echo "[edgek] uninstalling needs root; try: sudo $0 $*" >&2; exit 1; }

# --- what edgek was started with: our environment, else the service's flags, its variables, the configuration file, the default ---------------

said() { ( # NAME: by the flags of the service, which install.sh keeps as a shell reads them
    name=$1 found='' last=''
    eval "set -- $(cat $PREFIX/arguments 2>/dev/null)"
    for word in "$@"; do
        [ "$last" != "--$name" ] || found=$word
        case $word in "--$name="*) found=${word#*=} ;; esac
        last=$word
    done
    printf %s "$found"
) }

# As install.sh has them: each must do without the other.
kept() { # NAME: by the variables of the service
    sed -n "s/^$1=//p" $CONFIG_DIR/edgek.env 2>/dev/null | tail -n 1 | sed -e "s/^'\(.*\)'\$/\1/" -e '/^".*"$/{s/^"\(.*\)"$/\1/' -e 's/\\\(["\\$`]\)/\1/g' -e '}'
}

setting() { # NAME: by the configuration file
    sed -n "s/^$1:[[:space:]]*//p" "$CONFIG" 2>/dev/null | head -n 1 |
        sed -e 's/[[:space:]][[:space:]]*#.*$//' -e "s/^'\(.*\)'\$/\1/" -e 's/^"\(.*\)"$/\1/'
}

flag() { # NAME DEFAULT
    found=$(said "$1")
    [ -n "$found" ] || found=$(kept "EDGEK_$(echo "$1" | tr '[:lower:]-' '[:upper:]_')")
    [ -n "$found" ] || found=$(setting "$1")
    echo "${found:-$2}"
}

CONFIG=$(said config)
CONFIG=${EDGEK_CONFIG:-${CONFIG:-$(kept EDGEK_CONFIG)}}
CONFIG=${CONFIG:-$CONFIG_DIR/config.yaml}
DATA=${EDGEK_DATA_DIR:-$(flag data-dir /var/lib/edgek)}
RUN=${EDGEK_RUN_DIR:-$(flag run-dir /run/edgek)}
if [ "$DATA" = /var/lib/edgek ]; then
    KUBELET=/var/lib/kubelet LOGS=/var/log/pods ROOT=/
else
    KUBELET=$DATA/agent/kubelet LOGS=$DATA/agent/pod-logs ROOT=/$(echo "$DATA" | sed 's,^/*,,; s,/*$,,; s,/,-,g')
fi
KUBELET=${EDGEK_KUBELET_DIR:-$(flag kubelet-dir "$KUBELET")}
LOGS=${EDGEK_POD_LOGS_DIR:-$(flag pod-logs-dir "$LOGS")}
ROOT=${EDGEK_CGROUP_ROOT:-$(flag cgroup-root "$ROOT")}
TASKS=$RUN/containerd/io.containerd.runtime.v2.task/k8s.io

# --- processes -------------------------------------------------------------------------------------------------------------------------------

stop_edgek() {
    say 'Stopping edgek'
    end "$(cat "$RUN/edgek.pid" 2>/dev/null)"
    [ -z "$node_only" ] || return 0
    if [ -d /run/systemd/system ]; then systemctl stop edgek 2>/dev/null; fi
    if command -v rc-service >/dev/null 2>&1; then rc-service -q edgek stop 2>/dev/null; fi
    [ ! -x $PREFIX/supervise.sh ] || $PREFIX/supervise.sh stop
    end "$(cat "$RUN/edgek.pid" 2>/dev/null)" # one that the service manager had just started again
}

disable_service() { # it does not come back with a reboot
    if [ -d /run/systemd/system ]; then systemctl disable -q edgek 2>/dev/null; fi
    if command -v rc-update >/dev/null 2>&1; then rc-update -q del edgek default 2>/dev/null; fi
}

end() { # PID: TERM, then KILL after ten seconds
    [ -n "$1" ] && kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
    kill -9 "$1" 2>/dev/null
}

with_command() { # PATTERN, with containerd in it: the processes whose command line fits; pgrep is not everywhere
    for process in $(grep -l containerd /proc/[0-9]*/cmdline); do
        process=${process%/cmdline}
        if tr '\0' ' ' <"$process/cmdline" | grep -q "$1"; then echo "${process#/proc/}"; fi
    done
} 2>/dev/null

cgroups() { # of pods, in every hierarchy (v1) or the one (v2), the deepest first
    for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ ! -d "$top${ROOT%/}/kubepods" ] || find "$top${ROOT%/}/kubepods" -depth -type d
    done
}

kill_pods() {
    say 'Stopping pods'
    # The runtime first, or it would tidy up behind us.
    for shim in $(with_command "containerd-shim[^ ]* .*-address $RUN/containerd.sock"); do kill -9 "$shim" 2>/dev/null; done
    end "$(sed -n '1s/^\([0-9]*\).*/\1/p' "$RUN/containerd.pid" 2>/dev/null)"
    for other in $(with_command "containerd --config $DATA/agent/containerd/"); do kill -9 "$other" 2>/dev/null; done
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        # 0 is a process that cannot be seen from here, as in a container: to kill, it means ourselves.
        pids=$(cgroups | while read -r group; do cat "$group/cgroup.procs" 2>/dev/null; done | grep -vx 0 | sort -u)
        [ -n "$pids" ] || break
        # shellcheck disable=SC2086 # a list of words
        kill -9 $pids 2>/dev/null
        sleep 0.2
    done
}

# --- what the kernel holds -------------------------------------------------------------------------------------------------------------------

below() { # mount points in a folder, and the folder where it is one, the deepest first
    awk '{print $5}' /proc/self/mountinfo | sed 's/\\040/ /g' | awk -v top="$1" '$0 == top || index($0, top "/") == 1' | sort -r
}

is_owners() { # a disk that the machine's owner mounts there, which is there again after a reboot
    awk -v point="$1" '$1 !~ /^#/ && $2 == point {found = 1} END {exit !found}' /etc/fstab 2>/dev/null
}

remove_networks() {
    say 'Removing networks'
    for state in "$RUN"/cni/*; do
        netns=$(sed -n 's/.*"netns":"\([^"]*\)".*/\1/p' "$state" 2>/dev/null)
        link=$(sed -n 's/.*"host_interface":"\([^"]*\)".*/\1/p' "$state" 2>/dev/null)
        [ -z "$link" ] || ip link del "$link" 2>/dev/null
        [ -z "$netns" ] || { umount "$netns" 2>/dev/null; rm -f "$netns"; }
    done
    ip -o -4 addr show dev lo label lo:edgek 2>/dev/null | awk '{print $4}' | while read -r address; do ip addr del "$address" dev lo; done
    if ip -V 2>/dev/null | grep -q iproute2; then
        ip route flush proto 237 2>/dev/null
    elif [ -x $BIN_DIR/edgek ]; then
        $BIN_DIR/edgek internal-tool unroute 2>/dev/null # busybox's ip does not know whose a route is, and would flush them all
    fi
    if grep -q ^edgek /sys/class/net/flannel.1/ifalias 2>/dev/null; then ip link del flannel.1; fi
    if command -v nft >/dev/null 2>&1; then
        nft delete table ip edgek 2>/dev/null
    elif [ -x $BIN_DIR/edgek ]; then
        $BIN_DIR/edgek internal-tool nft 'delete table ip edgek' 2>/dev/null
    fi
}

remove_mounts() {
    say 'Removing mounts'
    for top in "$RUN" "$KUBELET" "$DATA/agent"; do # not $DATA: that may be a disk of its own
        below "$top" | while read -r point; do is_owners "$point" || umount "$point" 2>/dev/null || umount -l "$point"; done
    done
}

remove_cgroups() {
    cgroups | while read -r group; do rmdir "$group" 2>/dev/null; done
    [ "$ROOT" = / ] || for top in /sys/fs/cgroup /sys/fs/cgroup/*; do rmdir "$top$ROOT" 2>/dev/null; done
}

# --- files -----------------------------------------------------------------------------------------------------------------------------------

remove_runtime_traces() { # what containerd and runc keep outside our folders, container by container
    for task in "$TASKS"/*; do
        [ -d "$task" ] || continue
        rm -rf "/run/containerd/runc/k8s.io/$(basename "$task")"
        socket=$(sed 's,^unix://,,' "$task/address" 2>/dev/null)
        case $socket in /run/containerd/s/*) rm -f "$socket" ;; esac
    done
    rmdir /run/containerd/s /run/containerd/runc/k8s.io /run/containerd/runc /run/containerd/fifo /run/containerd 2>/dev/null
}

remove_logs() {
    for link in /var/log/containers/*.log; do
        case $(readlink "$link" 2>/dev/null) in "$LOGS"/*) rm -f "$link" ;; esac
    done
    remove_own "$LOGS"
    rmdir /var/log/containers 2>/dev/null
}

# What edgek makes in its data directory: whatever else lies there is somebody else's.
OURS='server server.before-* agent storage backups dist .restore-*'

remove_data() {
    [ -d "$DATA" ] || return 0
    # shellcheck disable=SC2086 # patterns
    (cd "$DATA" && for each in $OURS; do [ ! -e "$each" ] || remove_own "$DATA/$each"; done)
    left=$(ls -A "$DATA")
    [ -z "$left" ] || say "Left in $DATA, for edgek did not make it:" $left
    rmdir "$DATA" 2>/dev/null
}

remove_own() { # PATH. busybox's rm does not mind where other file systems begin: there, none may be left below
    case $1 in /*/*) ;; *) say "$1 stays: that is no folder of edgek's own"; return ;; esac
    if rm --help 2>&1 | grep -q one-file-system; then
        rm -rf --one-file-system "$1"
    elif [ -z "$(below "$1")" ]; then
        rm -rf "$1"
    fi
}

remove_files() {
    say 'Removing files'
    remove_runtime_traces
    remove_logs
    remove_own "$RUN"
    # One file system at a time: a mount that could not be removed keeps what is in it.
    if [ -z "$keep" ]; then
        remove_own "$KUBELET"
        remove_data
    fi
    # What the file unpacks by itself, where that is not among the data.
    [ -n "$node_only" ] || rm -rf "$DATA/dist" /var/lib/edgek/dist "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/edgek/dist"
    for folder in /var/lib/edgek "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/edgek"; do rmdir "$folder" 2>/dev/null; done
    [ -z "$node_only" ] || return 0
    [ -n "$keep" ] || rm -rf $CONFIG_DIR
    for face in ctr kubectl; do if [ "$(readlink $BIN_DIR/$face)" = edgek ]; then rm -f $BIN_DIR/$face; fi; done
    rm -f /run/edgek-install $LOG $LOG.1 $UNIT $RC $BIN_DIR/edgek $BIN_DIR/edgek-uninstall
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    [ ! -f $PREFIX/packages ] || packages=$(tr '\n' ' ' <$PREFIX/packages)
    rm -rf $PREFIX
}

packages=''
role=$(cat $PREFIX/role 2>/dev/null) name=$(flag node-name "$(uname -n)")
stop_edgek
kill_pods
remove_networks
remove_mounts
remove_cgroups
if [ -n "$stop_only" ]; then
    remove_runtime_traces
    say 'edgek and all its pods are stopped. They start again with the service.'
    exit 0
fi
[ -n "$node_only" ] || disable_service
remove_files
say 'edgek is gone.'
[ -z "$keep" ] || say "Kept as asked: $DATA and $CONFIG_DIR"
if [ "$role" = agent ] && [ -z "$node_only$keep" ]; then say "The cluster still knows this node: sudo edgek node forget $name (on the server)"; fi
[ -z "$packages" ] || say "Packages that were installed for it and may go too: apt-get remove $packages"
