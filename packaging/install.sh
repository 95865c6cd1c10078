#!/bin/sh
# packaging/install.sh [EDGEK SERVER FLAG...]: from a checkout to a running cluster of one node. Run as root; safe to run twice.
#
# Installs what is missing by the distribution's packages, edgek into an environment of its own below $PREFIX, `edgek` into $BIN_DIR; starts
# `edgek server` as a service (systemd, OpenRC, or a supervised background process), waits until the node is Ready, says what to type next.
# Flags are kept and used at every start; run it again with others to change them. packaging/uninstall.sh takes everything away.
#
#   EDGEK_WHEELS=DIR         install Python packages from this folder only (no network)
#   EDGEK_READY_TIMEOUT=S    seconds to wait for the node (300)
#   EDGEK_SKIP_START=1       install, start nothing
set -eu

CHECKOUT=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
PREFIX=/usr/local/lib/edgek
BIN_DIR=/usr/local/bin
LOG=/var/log/edgek.log
UNIT=/etc/systemd/system/edgek.service
RC=/etc/init.d/edgek
READY_TIMEOUT=${EDGEK_READY_TIMEOUT:-300}

if [ -t 1 ]; then BOLD=$(printf '\033[1m') PLAIN=$(printf '\033[0m'); else BOLD='' PLAIN=''; fi
say() { printf '%s[edgek]%s %s\n' "$BOLD" "$PLAIN" "$*"; }
die() { printf '[edgek] %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "installing needs root; try: sudo $0 $*"
[ -f "$CHECKOUT/pyproject.toml" ] || die "$CHECKOUT is no checkout of edgek: pyproject.toml is not there"
[ "$(uname -s)" = Linux ] || die "edgek runs on Linux, this is $(uname -s)"

python_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${EDGEK_PYTHON:-} /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && python_is_new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
    return 1
}

# --- packages --------------------------------------------------------------------------------------------------------------------------------

missing_packages() { # program:package pairs whose program is not there
    for pair in containerd:containerd runc:runc nft:nftables ip:iproute2 conntrack:conntrack musl-gcc:musl-tools cc:gcc kubectl:kubernetes-client; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair#*:}"
    done
    found=$(find_python) || { echo python3; echo python3-venv; return; }
    "$found" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

install_packages() {
    # shellcheck disable=SC2046 # a list of words
    set -- $(missing_packages)
    if [ $# = 0 ]; then say 'Everything needed of the distribution is here'; return; fi
    command -v apt-get >/dev/null 2>&1 || die "these are missing and there is no apt-get to install them: $*"
    say "Installing $*"
    apt-get update -qq || say 'apt-get update failed; trying with the lists that are here'
    # The distribution's containerd must not start: edgek runs one of its own. A policy that was there stays.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made_policy=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || failed=1
    [ -z "${made_policy:-}" ] || rm -f $policy
    [ -z "${failed:-}" ] || die "apt-get could not install: $*"
    if [ -d /run/systemd/system ]; then
        case " $* " in *' containerd '*) systemctl disable -q --now containerd 2>/dev/null || true ;; esac
    fi
    mkdir -p $PREFIX
    printf '%s\n' "$@" >>$PREFIX/packages
}

# --- edgek -----------------------------------------------------------------------------------------------------------------------------------

install_edgek() {
    python=$(find_python) || die 'there is no Python 3.11 or newer here; install python3 (Debian 12 has it) or name one in EDGEK_PYTHON'
    say "Installing edgek for $("$python" -V) into $PREFIX"
    mkdir -p $PREFIX
    [ -x $PREFIX/venv/bin/pip ] || "$python" -m venv $PREFIX/venv
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    cp -R "$CHECKOUT/pyproject.toml" "$CHECKOUT/README.md" "$CHECKOUT/LICENSE" "$CHECKOUT/edgek" "$source/"
    if [ -n "${EDGEK_WHEELS:-}" ]; then
        set -- --no-index --find-links "$EDGEK_WHEELS"
    else
        set --
    fi
    $PREFIX/venv/bin/pip install -q --disable-pip-version-check --no-warn-script-location --upgrade "$@" "$source"
    rm -rf "$source"
    trap - EXIT
    cp "$CHECKOUT/packaging/uninstall.sh" "$CHECKOUT/packaging/supervise.sh" $PREFIX/
    chmod +x $PREFIX/*.sh
    ln -sf $PREFIX/venv/bin/edgek $BIN_DIR/edgek
    ln -sf $PREFIX/uninstall.sh $BIN_DIR/edgek-uninstall
}

# --- the service -----------------------------------------------------------------------------------------------------------------------------

quoted() { # the arguments as one line that a shell, and systemd, read back as they were
    for argument in "$@"; do printf " '%s'" "$(printf %s "$argument" | sed "s/'/'\\\\''/g")"; done
}

start_with_systemd() {
    cat >$UNIT <<UNIT_FILE
[Unit]
Description=edgek: a small, complete Kubernetes
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=$BIN_DIR/edgek server$(quoted "$@")
# Pods outlive a restart of edgek: only the process itself is stopped, and its cgroup is its own to divide.
KillMode=process
Delegate=yes
Restart=always
RestartSec=2
LimitNOFILE=1048576
LimitNPROC=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
UNIT_FILE
    systemctl daemon-reload
    systemctl enable -q edgek
    systemctl restart edgek
}

start_with_openrc() {
    cat >$RC <<RC_FILE
#!/sbin/openrc-run
description="edgek: a small, complete Kubernetes"
supervisor=supervise-daemon
command=$BIN_DIR/edgek
command_args="server$(quoted "$@")"
output_log=$LOG
error_log=$LOG
respawn_delay=2
respawn_max=0
depend() { after firewall net; }
RC_FILE
    chmod +x $RC
    rc-update -q add edgek default
    rc-service -q edgek restart
}

start_supervised() {
    $PREFIX/supervise.sh stop
    $PREFIX/supervise.sh start $BIN_DIR/edgek server "$@"
}

start() {
    if [ -d /run/systemd/system ]; then
        say 'Starting edgek.service'
        start_with_systemd "$@"
        follow='journalctl -fu edgek'
    elif command -v openrc-run >/dev/null 2>&1; then
        say 'Starting the OpenRC service edgek'
        start_with_openrc "$@"
        follow="tail -f $LOG"
    else
        say "Starting edgek in the background (no systemd or OpenRC here); its log is $LOG"
        start_supervised "$@"
        follow="tail -f $LOG"
    fi
}

# --- ready -----------------------------------------------------------------------------------------------------------------------------------

wait_until_ready() {
    began=$(date +%s)
    shown=''
    while :; do
        waited=$(($(date +%s) - began))
        state=$($BIN_DIR/edgek kubectl get nodes --no-headers 2>/dev/null | awk '{print $1 " is " $2}') || state=''
        case $state in *' is Ready'*) break ;; esac
        now=${state:-the API is starting}
        [ "$now" = "$shown" ] || { say "Waiting: $now"; shown=$now; }
        [ "$waited" -lt "$READY_TIMEOUT" ] || die "no node was Ready within $READY_TIMEOUT s; see what it says: $follow"
        sleep 1
    done
    say "$state after $waited s"
}

say_what_next() {
    cat <<NEXT

${BOLD}edgek is running.${PLAIN} Try:
    sudo edgek kubectl get nodes
    sudo edgek kubectl create deployment web --image=nginx --replicas=2
    sudo edgek status

Your kubectl and Helm find the cluster with:  export KUBECONFIG=/etc/edgek/edgek.yaml
Its log:  $follow
To remove it all:  sudo edgek-uninstall
NEXT
}

for argument in "$@"; do
    case $argument in --disable-agent | --disable-agent=true) agentless=1 ;; esac
done
install_packages
install_edgek
[ -z "${EDGEK_SKIP_START:-}" ] || exit 0
start "$@"
if [ -n "${agentless:-}" ]; then say 'Running without a node, as asked (--disable-agent)'; exit 0; fi
wait_until_ready
say_what_next
