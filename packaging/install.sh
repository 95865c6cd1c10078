#!/bin/sh
# install.sh [server | agent] [FLAG...]: from a checkout or the one file to a running cluster of one node, or to a node of a cluster elsewhere:
#
#   sudo packaging/install.sh                                                              a server
#   sudo EDGEK_URL=https://HOST:6443 EDGEK_TOKEN=... packaging/install.sh                  an agent
#
# Run as root; safe to run twice. In a checkout it installs what is missing by the distribution's packages, and edgek into an environment of its own
# below $PREFIX. Beside the one file, or told where that is, it holds the file against checksum and signature and puts it in place: nothing else is
# needed, and when its node is not Ready in time the former version runs again. Either way it starts edgek as a service (systemd, OpenRC, or a supervised
# background process), waits until the node is Ready, says what to type next. Flags are kept and used at every start; run it again with others to change
# them. `edgek-uninstall` takes everything away.
#
#   INSTALL_EDGEK_FILE=FILE              this file, built by packaging/build.sh, with FILE.sha256 and FILE.sha256.sig beside it
#   INSTALL_EDGEK_DIR=DIR                the newest for this machine in this folder (the one that install.sh is in)
#   INSTALL_EDGEK_URL=URL                from there: URL/edgek-VERSION-linux-ARCH, with INSTALL_EDGEK_VERSION=VERSION
#   INSTALL_EDGEK_SKIP_DOWNLOAD=1        the edgek that is in place already: only its service is made anew
#   INSTALL_EDGEK_PUBLIC_KEY=KEY         whose signature counts (base64 of an Ed25519 public key), instead of the one below
#   INSTALL_EDGEK_SKIP_SIGNATURE=1       believe the checksum alone
#   INSTALL_EDGEK_EXEC='server FLAG...'  what may also follow install.sh, which comes after it; words end at spaces
#   INSTALL_EDGEK_KEEP_FLAGS=1           the flags and variables of before: what `edgek upgrade` does
#   INSTALL_EDGEK_SKIP_START=1           set everything up, and start nothing
#   INSTALL_EDGEK_SKIP_ENABLE=1          nor at the next boot
#   INSTALL_EDGEK_FORCE_RESTART=1        restart although nothing changed
#   INSTALL_EDGEK_SYMLINK=skip|force     make no ctr and kubectl of ours, or in the place of others (made where there are none)
#   INSTALL_EDGEK_BIN_DIR=DIR            where the commands go (/usr/local/bin)
#   INSTALL_EDGEK_SYSTEMD_DIR=DIR        where systemd's unit goes (/etc/systemd/system)
#   EDGEK_URL, EDGEK_TOKEN   the server to join and the token of `edgek token` there. Kept, so they need not be given again
#   EDGEK_...                every other flag as a variable: kept for the service, in a file for root alone, and so are proxy variables
#   EDGEK_WHEELS=DIR         install Python packages from this folder only (no network)
#   EDGEK_READY_TIMEOUT=S    seconds to wait for the node (300)
set -eu

PUBLIC_KEY=''
CRASHES_MOST=3   # ends of a service before its node was ever Ready: it will not come up any more
PREFIX=/usr/local/lib/edgek
PLACES=$PREFIX/places # of a former installation
LOG=/var/log/edgek.log
RC=/etc/init.d/edgek
CONFIG_DIR=/etc/edgek
ENVIRONMENT=$CONFIG_DIR/edgek.env
ARGUMENTS=$PREFIX/arguments # where there is no service manager to know them
BIN_DIR=/usr/local/bin SYSTEMD_DIR=/etc/systemd/system
[ ! -r $PLACES ] || . $PLACES
BIN_DIR=${INSTALL_EDGEK_BIN_DIR:-$BIN_DIR} SYSTEMD_DIR=${INSTALL_EDGEK_SYSTEMD_DIR:-$SYSTEMD_DIR}
UNIT=$SYSTEMD_DIR/edgek.service
HERE='' CHECKOUT=/nowhere # read from a pipe, this lies nowhere
if [ -f "$0" ]; then
    HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
    CHECKOUT=$(dirname "$HERE")
fi
READY_TIMEOUT=${EDGEK_READY_TIMEOUT:-300}

if [ -t 1 ]; then BOLD=$(printf '\033[1m') PLAIN=$(printf '\033[0m'); else BOLD='' PLAIN=''; fi
say() { printf '%s[edgek]%s %s\n' "$BOLD" "$PLAIN" "$*"; }
die() { printf '[edgek] %s\n' "$*" >&2; exit 1; }
asked() { case $1 in '' | 0 | false) return 1 ;; esac; } # a switch, in k3s's way or ours
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ "$(id -u)" = 0 ] || die "installing needs root; try: sudo $0 $*"
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
    kubectl=kubectl:kubernetes-client
    [ $role = server ] || kubectl='' # an agent has nothing to ask it with
    for pair in containerd:containerd runc:runc nft:nftables ip:iproute2 conntrack:conntrack musl-gcc:musl-tools cc:gcc $kubectl; do
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

# --- the one file ----------------------------------------------------------------------------------------------------------------------------

architecture() {
    case $(uname -m) in
    x86_64 | amd64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    armv7l | armv6l)
        die "there is no edgek for 32 bit ($(uname -m)): some packages that it is made of (cffi, httptools, PyYAML) are given away for it in source" \
            "only. Where the board can do 64 bit (Raspberry Pi 3 and newer), install a 64-bit system" ;;
    *) die "there is no edgek for $(uname -m)" ;;
    esac
}

find_file() { # the path of the one file, where one is meant; fetched, if need be, into $work
    file=''
    [ -f "$CHECKOUT/pyproject.toml" ] || architecture >/dev/null # refused before anything is fetched
    if [ -n "${INSTALL_EDGEK_FILE:-}" ]; then
        [ -f "$INSTALL_EDGEK_FILE" ] || die "INSTALL_EDGEK_FILE=$INSTALL_EDGEK_FILE is not there"
        file=$INSTALL_EDGEK_FILE
    elif [ -n "${INSTALL_EDGEK_URL:-}" ]; then
        [ -n "${INSTALL_EDGEK_VERSION:-}" ] || die 'INSTALL_EDGEK_URL: say which INSTALL_EDGEK_VERSION, too'
        file=$work/edgek-$INSTALL_EDGEK_VERSION-linux-$(architecture)
        for suffix in '' .sha256 .sha256.sig; do
            fetch "$INSTALL_EDGEK_URL/${file##*/}$suffix" "$file$suffix" || [ "$suffix" = .sha256.sig ] || die "cannot fetch $INSTALL_EDGEK_URL/${file##*/}$suffix"
        done
    else
        folder=${INSTALL_EDGEK_DIR:-$HERE}
        [ -n "$folder" ] || die 'which edgek? Say where it is with INSTALL_EDGEK_URL and INSTALL_EDGEK_VERSION, or with INSTALL_EDGEK_FILE'
        file=$(ls -d "$folder"/edgek-${INSTALL_EDGEK_VERSION:-*}-linux-"$(architecture)" 2>/dev/null | sort -V | tail -n 1)
        if [ -z "$file" ]; then
            [ -z "${INSTALL_EDGEK_DIR:-}" ] || die "there is no edgek-*-linux-$(architecture) in $folder"
            [ -f "$CHECKOUT/pyproject.toml" ] || die "there is no edgek-*-linux-$(architecture) in $folder: name one with INSTALL_EDGEK_FILE"
        fi
    fi
}

fetch() { # URL FILE
    say "Fetching $1"
    if [ -t 2 ]; then bar=-# quiet=''; else bar=-s quiet=-q; fi
    if command -v curl >/dev/null 2>&1; then curl -fSL $bar --retry 3 -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then wget $quiet -O "$2" "$1"
    else die 'neither curl nor wget is here to fetch it: fetch it elsewhere and name it with INSTALL_EDGEK_FILE'; fi
}

verify() { # FILE, before anything of it runs
    [ "$(head -c 4 "$1" | tr -d '\177')" = ELF ] || die "$1 is no program: it is damaged, or something else"
    [ "$(od -An -tu1 -j18 -N1 "$1" | tr -d ' ')" = "$(case $(architecture) in amd64) echo 62 ;; arm64) echo 183 ;; *) echo 40 ;; esac)" ] ||
        die "$1 is for another kind of machine than this $(uname -m)"
    [ -f "$1.sha256" ] || die "$1.sha256 is missing: copy it along"
    [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$(cut -d' ' -f1 <"$1.sha256")" ] || die "$1 is not what its checksum says: it is damaged, or was changed. Copy it again"
    if [ -n "${INSTALL_EDGEK_SKIP_SIGNATURE:-}" ]; then say 'Its signature is not looked at, as asked'; return; fi
    key=${INSTALL_EDGEK_PUBLIC_KEY:-$PUBLIC_KEY}
    [ -n "$key" ] || die 'nobody is known whose signature would count: give INSTALL_EDGEK_PUBLIC_KEY, or INSTALL_EDGEK_SKIP_SIGNATURE=1 to believe the checksum alone'
    [ -f "$1.sha256.sig" ] || die "$1.sha256.sig is missing: copy it along, or give INSTALL_EDGEK_SKIP_SIGNATURE=1 to believe the checksum alone"
    printf -- '-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n' "$key" >"$work/key.pem"
    # Never the new file itself: it would vouch for itself.
    if command -v openssl >/dev/null 2>&1; then
        openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$1.sha256" -sigfile "$1.sha256.sig" >/dev/null 2>&1
    elif [ -x $BIN_DIR/edgek ]; then
        $BIN_DIR/edgek internal-tool verify "$work/key.pem" "$1.sha256" "$1.sha256.sig"
    else
        die 'neither openssl nor a former edgek is here to look at the signature: install openssl, or give INSTALL_EDGEK_SKIP_SIGNATURE=1 to believe the checksum alone'
    fi || die "$1 was not signed by the one whose key this is: it was changed, or comes from somebody else"
    say 'Checksum and signature are right'
}

refuse_file() { # WHY: as if nothing had been tried
    rm -f "$BIN_DIR/.edgek.new"
    [ -n "$had_data" ] || { rm -rf "$unpacked/dist" && rmdir "$unpacked"; } 2>/dev/null || true
    rm -rf $PREFIX/former
    [ -e "$BIN_DIR/edgek" ] || rm -rf $PREFIX
    die "$1; nothing was changed"
}

put_in_place() { # FILE FLAG...: what is there is kept for the way back
    new=$1
    shift
    mkdir -p $PREFIX "$BIN_DIR" || die "there is no writing to $PREFIX or $BIN_DIR: mount it read-write (INSTALL_EDGEK_BIN_DIR moves the commands)"
    rm -rf $PREFIX/former
    mkdir $PREFIX/former
    if [ -e $BIN_DIR/edgek ]; then cp -a $BIN_DIR/edgek $PREFIX/former/edgek; fi
    for kept in $UNIT $RC $ENVIRONMENT $ARGUMENTS; do if [ -e $kept ]; then cp -a $kept $PREFIX/former/"$(echo $kept | tr / ,)"; fi; done
    unpacked=${EDGEK_DATA_DIR:-/var/lib/edgek} # by itself, when it is run first
    if [ -d "$unpacked" ]; then had_data=1; else had_data=''; fi
    cp "$new" "$BIN_DIR/.edgek.new" || refuse_file "$new cannot be copied to $BIN_DIR (see above)"
    chmod 755 $BIN_DIR/.edgek.new
    "$BIN_DIR/.edgek.new" --version >/dev/null || refuse_file "$new does not run here (see above)"
    [ -e $BIN_DIR/edgek ] || [ -n "$skip_start" ] || $BIN_DIR/.edgek.new check $role "$@" >"$work/check" 2>&1 || {
        cat "$work/check" >&2
        refuse_file 'this machine cannot run edgek yet'
    }
    if cmp -s "$BIN_DIR/.edgek.new" $BIN_DIR/edgek; then rm $BIN_DIR/.edgek.new; else mv $BIN_DIR/.edgek.new $BIN_DIR/edgek; fi
    share=$($BIN_DIR/edgek internal-tool share)
    cp "$share"/*.sh $PREFIX/
    ln -sf $PREFIX/uninstall.sh $BIN_DIR/edgek-uninstall
    for face in ctr kubectl; do
        [ -x "$share/../bin/$face" ] || continue
        case ${INSTALL_EDGEK_SYMLINK:-} in
        skip) ;;
        force) ln -sf edgek $BIN_DIR/$face ;;
        *) command -v $face >/dev/null 2>&1 || ln -s edgek $BIN_DIR/$face ;;
        esac
    done
    say "$($BIN_DIR/edgek --version) is in place"
}

take_back() { # the former version runs again
    cp -a $PREFIX/former/edgek $BIN_DIR/.edgek.new
    mv $BIN_DIR/.edgek.new $BIN_DIR/edgek
    for kept in $UNIT $RC $ENVIRONMENT $ARGUMENTS; do
        saved=$PREFIX/former/$(echo $kept | tr / ,)
        if [ -e "$saved" ]; then cp -a "$saved" $kept; fi
    done
    rm -rf $PREFIX/former
    run_service
}

# --- a checkout ------------------------------------------------------------------------------------------------------------------------------

install_edgek() {
    python=$(find_python) || die 'there is no Python 3.11 or newer here; install python3 (Debian 12 has it) or name one in EDGEK_PYTHON'
    say "Installing edgek for $("$python" -V) into $PREFIX"
    mkdir -p $PREFIX
    [ -x $PREFIX/venv/bin/pip ] || "$python" -m venv $PREFIX/venv
    source=$work/source
    mkdir "$source"
    cp -R "$CHECKOUT/pyproject.toml" "$CHECKOUT/README.md" "$CHECKOUT/LICENSE" "$CHECKOUT/edgek" "$source/"
    if [ -n "${EDGEK_WHEELS:-}" ]; then
        set -- --no-index --find-links "$EDGEK_WHEELS"
    else
        set --
    fi
    $PREFIX/venv/bin/pip install -q --disable-pip-version-check --no-warn-script-location --upgrade "$@" "$source"
    cp "$CHECKOUT/packaging/uninstall.sh" "$CHECKOUT/packaging/supervise.sh" $PREFIX/
    chmod +x $PREFIX/*.sh
    ln -sf $PREFIX/venv/bin/edgek $BIN_DIR/edgek
    ln -sf $PREFIX/uninstall.sh $BIN_DIR/edgek-uninstall
}

# --- a server or an agent --------------------------------------------------------------------------------------------------------------------

kept() { # NAME: what the service was given before
    sed -n "s/^$1='\(.*\)'\$/\1/p" $ENVIRONMENT 2>/dev/null || true
}

setting() { # NAME: what the configuration file says
    sed -n "s/^$1:[[:space:]]*//p" "${EDGEK_CONFIG:-$CONFIG_DIR/config.yaml}" 2>/dev/null | tr -d "'\"" | head -n 1
}

role_asked_for() {
    if [ -n "$role" ]; then return; fi
    role=server
    [ -z "${EDGEK_URL:-}$(setting join)" ] || role=agent
}

check_role() { # one machine is the one or the other
    was=$(cat $PREFIX/role 2>/dev/null || true)
    if [ -z "$was" ]; then
        if [ -d "$data/server" ]; then was=server; elif [ -f "$data/agent/cluster.json" ]; then was=agent; fi
    fi
    [ "${was:-$role}" != "$role" ] || return 0
    away=edgek-uninstall
    [ -e $BIN_DIR/$away ] || away=$HERE/uninstall.sh # only the data is left: it was kept
    [ "$was" = agent ] || die "this machine is a server with a cluster of its own: \`sudo $away\` takes that away, then it can be an agent"
    die "this machine is an agent of $(kept EDGEK_URL): \`$0 agent\` installs that anew; \`sudo $away\` takes it away, then it can be a server"
}

names_server() { [ -n "${EDGEK_URL:-}$(setting join)" ]; }
has_token() { [ -n "${EDGEK_TOKEN:-}${EDGEK_TOKEN_FILE:-}$(setting token)$(setting token-file)" ]; }

check_agent() { # what it needs to join, before anything is installed
    names_server || EDGEK_URL=$(kept EDGEK_URL)
    has_token || EDGEK_TOKEN=$(kept EDGEK_TOKEN)
    [ ! -f "$data/agent/cluster.json" ] || return 0
    names_server || die 'an agent needs a server: give EDGEK_URL=https://HOST:6443'
    has_token || die 'an agent needs a token: give EDGEK_TOKEN=...; `sudo edgek token` on the server prints it'
}

# --- the service -----------------------------------------------------------------------------------------------------------------------------

escaped() { printf %s "$1" | sed "s/'/'\\\\''/g"; }

quoted() { # the arguments as one line that a shell, and systemd, read back as they were
    for argument in "$@"; do printf " '%s'" "$(escaped "$argument")"; done
}

keep_environment() { # for root alone: tokens stand in it
    mkdir -p $CONFIG_DIR
    (
        umask 077
        for name in $(env | sed -n 's/^\(EDGEK_[A-Z0-9_]*\)=..*/\1/p; s/^\(\(HTTPS*\|NO\|https*\|no\)_\(PROXY\|proxy\)\)=..*/\1/p' | sort); do
            case $name in EDGEK_WHEELS | EDGEK_READY_TIMEOUT | EDGEK_SKIP_START | EDGEK_PYTHON) continue ;; esac
            eval "value=\$$name"
            printf "%s='%s'\n" "$name" "$(escaped "$value")"
        done >$ENVIRONMENT.new
    )
    mv $ENVIRONMENT.new $ENVIRONMENT
}

set_up_systemd() {
    mkdir -p "$SYSTEMD_DIR"
    cat >$UNIT <<UNIT_FILE
[Unit]
Description=edgek: a small, complete Kubernetes
# Not network-online: where no cable is in, that takes two minutes, and edgek follows its addresses anyway.
After=network.target

[Service]
Type=notify
NotifyAccess=main
# A node that waits for its server takes its time, and is no failure.
TimeoutStartSec=infinity
WatchdogSec=120
EnvironmentFile=-$ENVIRONMENT
ExecStart=$BIN_DIR/edgek $role$(quoted "$@")
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
    if [ -z "$skip_enable" ]; then systemctl enable -q $UNIT 2>/dev/null || systemctl enable -q edgek; fi
}

set_up_openrc() {
    cat >$RC <<RC_FILE
#!/sbin/openrc-run
description="edgek: a small, complete Kubernetes"
supervisor=supervise-daemon
set -a
[ ! -r $ENVIRONMENT ] || . $ENVIRONMENT
set +a
command=$BIN_DIR/edgek
command_args='$(escaped "$role$(quoted "$@")")'
output_log=$LOG
error_log=$LOG
respawn_delay=2
respawn_max=0
# Its pods are nobody's to stop but its own.
rc_cgroup_cleanup=no
depend() { after firewall net; want cgroups; }
start_pre() { # where that is allowed
    ulimit -n 1048576
    ulimit -u unlimited
    true
} 2>/dev/null
RC_FILE
    chmod +x $RC
    [ -n "$skip_enable" ] || rc-update -q add edgek default
}

run_supervised() {
    $PREFIX/supervise.sh stop
    set -a
    . $ENVIRONMENT
    set +a
    eval "set -- $(cat $ARGUMENTS)"
    $PREFIX/supervise.sh start $BIN_DIR/edgek "$@"
}

find_service_manager() {
    if [ -d /run/systemd/system ]; then
        manager=systemd follow='journalctl -fu edgek'
    elif command -v openrc-run >/dev/null 2>&1; then
        manager=openrc follow="tail -f $LOG"
    else
        manager=none follow="tail -f $LOG"
    fi
}

set_up() { # the service, with these flags
    case $manager in
    systemd) set_up_systemd "$@" ;;
    openrc) set_up_openrc "$@" ;;
    none) echo "$role$(quoted "$@")" >$ARGUMENTS ;;
    esac
}

run_service() { # anew, as it is set up
    log_before=$(stat -c %s $LOG 2>/dev/null || echo 0) began=$(date +%s)
    case $manager in
    systemd)
        say 'Starting edgek.service'
        systemctl daemon-reload
        systemctl reset-failed edgek 2>/dev/null || true
        systemctl restart --no-block edgek ;;
    openrc)
        say 'Starting the OpenRC service edgek'
        rc-service -q edgek restart || give_up "\`rc-service edgek start\` did not do it (see above)" ;;
    none)
        say "Starting edgek in the background (no systemd or OpenRC here: run this again after a reboot); its log is $LOG"
        run_supervised ;;
    esac
}

state_of_files() { # one that changes with anything that a restart would take up
    { ls -lid $BIN_DIR/edgek; cat $UNIT $RC $ARGUMENTS $ENVIRONMENT; } 2>/dev/null | sha256sum
}

runs() { # now, whichever version
    case $manager in
    systemd) systemctl is-active -q edgek ;;
    *) pid=$(cat "$run/edgek.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null ;;
    esac
}

# --- ready -----------------------------------------------------------------------------------------------------------------------------------

wait_until_ready() { # the node, or say what it waits for
    shown=''
    until state=$(state_of_$role); do
        waited=$(($(date +%s) - began))
        said=$(last_word)
        case $said in
        *'cannot go on'* | *'cannot start'* | 'edgek '*': error: '* | 'edgek '[a-z]*': '* | 'edgek: '*) give_up "$said" ;;
        *'cannot join yet'*) state=$said ;;
        esac
        [ "$(crashes)" -lt $CRASHES_MOST ] || give_up "$(last_error)"
        now=$(echo "$state" | sed 's/^[0-9TZ:-]* //')
        [ "$now" = "$shown" ] || { say "Waiting: $now"; shown=$now; }
        if [ "$waited" -ge "$READY_TIMEOUT" ]; then
            go_back "no node was Ready within $READY_TIMEOUT s"
            die "no node was Ready within $READY_TIMEOUT s; it goes on trying. See what it says: $follow"
        fi
        sleep 1
    done
    say "$state after $(($(date +%s) - began)) s"
}

give_up() { # WHY
    go_back "it gave up: $1"
    stop_again
    die "it gave up, so it is stopped. Run this again when that is mended: $1"
}

is_started() { # all of it, and by the version that is in place
    runs && { [ $manager = systemd ] || [ "$pid" != "$former_pid" ]; } || { echo 'it is starting'; return 1; }
}

go_back() { # WHY: to the version before, where there was one; else it returns
    [ -e $PREFIX/former/edgek ] || return 0
    say "$1"
    say 'Going back to the version before'
    take_back
    former_pid='' waited=0
    until is_started >/dev/null || [ "$waited" -ge "$READY_TIMEOUT" ]; do
        waited=$((waited + 1))
        sleep 1
    done
    die "$($BIN_DIR/edgek --version) runs again, as before; the new one did not come up: $1"
}

state_of_server() {
    is_started || return 1
    found=$($BIN_DIR/edgek kubectl get nodes --no-headers 2>/dev/null | awk '{print $1 " is " $2}')
    if [ -z "$found" ]; then # or there is no kubectl
        found=$($BIN_DIR/edgek status --data-dir "$data" --run-dir "$run" 2>/dev/null | awk '/^NODE  *STATE/ {getline; print $1 " is " $2; exit}')
    fi
    echo "${found:-the API is starting}"
    case $found in *' is Ready'*) ;; *) return 1 ;; esac
}

state_of_agent() { # by its own word: there is no kubeconfig here
    is_started || return 1
    found=$($BIN_DIR/edgek status --data-dir "$data" --run-dir "$run" 2>&1) && fine=0 || fine=1
    echo "$found" | head -n 1
    return $fine
}

last_word() { # of the service, since it was started last
    case $manager in
    systemd) journalctl "_SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value edgek)" -n 1 -o cat --no-pager ;;
    *) words | grep -v '^\[supervise\]' | tail -n 1 ;;
    esac 2>/dev/null
}

words() { # all that was said since we started it
    case $manager in
    systemd) journalctl -u edgek --since "@$began" -o cat --no-pager ;;
    *) tail -c "+$((log_before + 1))" $LOG ;;
    esac 2>/dev/null
}

crashes() { # how often it ended since we started it, by whoever starts it again; OpenRC does not tell: there its tracebacks are counted
    case $manager in
    systemd) systemctl show -p NRestarts --value edgek ;;
    openrc) words | grep -c 'Traceback (most recent call last):$\|^edgek: ' || true ;;
    none) words | grep -c '\[supervise\] ended with code' || true ;;
    esac
}

last_error() { # of a program that ended: what Python says at the end of a traceback, else its last word
    found=$(words | sed -n 's/^[ |+-]*\([A-Za-z_][A-Za-z0-9_.]*\(Error\|Exception\|Exit\|Interrupt\)\(:.*\)*\)$/\1/p' | tail -n 1)
    echo "${found:-$(words | grep -v '^\[supervise\]' | tail -n 1)} (all it said: $follow)" | sed 's/tail -f/tail/; s/-fu/-u/'
}

stop_again() {
    case $manager in
    systemd) systemctl disable -q --now edgek ;;
    openrc)
        rc-update -q del edgek default
        rc-service -q edgek stop ;;
    none) $PREFIX/supervise.sh stop ;;
    esac
}

say_what_next_agent() {
    cat <<NEXT

${BOLD}This machine is a node.${PLAIN} Try, here:
    sudo edgek status

and on the server:  sudo edgek kubectl get nodes
Its log:  $follow
To remove it all:  sudo edgek-uninstall
NEXT
}

say_what_next_server() {
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

# What is secret, and who we are, goes where the service's environment is kept, not into a command line that every user sees.
EDGEK_URL=${EDGEK_JOIN:-${EDGEK_URL:-}} EDGEK_TOKEN=${EDGEK_TOKEN:-}
unset EDGEK_JOIN
# shellcheck disable=SC2086 # a list of words
set -f && set -- ${INSTALL_EDGEK_EXEC:-} "$@" && set +f
skip_start='' skip_enable=''
if asked "${INSTALL_EDGEK_SKIP_ENABLE:-}"; then skip_start=1 skip_enable=1; fi
if asked "${INSTALL_EDGEK_SKIP_START:-${EDGEK_SKIP_START:-}}"; then skip_start=1; fi
role=''
case ${1:-} in server | agent) role=$1; shift ;; esac
data=${EDGEK_DATA_DIR:-$(setting data-dir)} run=${EDGEK_RUN_DIR:-$(setting run-dir)}
agentless='' value_of='' left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    left=$((left - 1))
    case $value_of in # of the flag before
    url) EDGEK_URL=$argument value_of=''; continue ;;
    token) EDGEK_TOKEN=$argument value_of=''; continue ;;
    data) data=$argument value_of='' ;;
    run) run=$argument value_of='' ;;
    esac
    case $argument in
    --join | --server) value_of=url; continue ;;
    --join=* | --server=*) EDGEK_URL=${argument#*=}; continue ;;
    --token) value_of=token; continue ;;
    --token=*) EDGEK_TOKEN=${argument#*=}; continue ;;
    --data-dir) value_of=data ;;
    --data-dir=*) data=${argument#*=} ;;
    --run-dir) value_of=run ;;
    --run-dir=*) run=${argument#*=} ;;
    --disable-agent | --disable-agent=true) agentless=1 ;;
    esac
    set -- "$@" "$argument"
done
data=${data:-/var/lib/edgek} run=${run:-/run/edgek}
role_asked_for
check_role
[ "$role" = server ] || [ -n "$skip_start" ] || check_agent
if [ -n "$EDGEK_URL" ]; then export EDGEK_URL; else unset EDGEK_URL; fi # empty would count as said
if [ -n "$EDGEK_TOKEN" ]; then export EDGEK_TOKEN; else unset EDGEK_TOKEN; fi
former_pid=$(cat "$run/edgek.pid" 2>/dev/null || true)
find_service_manager
before=$(state_of_files)
if asked "${INSTALL_EDGEK_SKIP_DOWNLOAD:-}"; then
    [ -x $BIN_DIR/edgek ] || die "INSTALL_EDGEK_SKIP_DOWNLOAD: there is no $BIN_DIR/edgek yet"
    file=''
else
    find_file
    if [ -n "$file" ]; then
        verify "$file"
        put_in_place "$file" "$@"
    else
        install_packages
        install_edgek
        before='' # what changed in it nobody can tell
    fi
fi
printf "BIN_DIR='%s' SYSTEMD_DIR='%s'\n" "$(escaped "$BIN_DIR")" "$(escaped "$SYSTEMD_DIR")" >$PLACES
echo $role >$PREFIX/role
if [ -z "${INSTALL_EDGEK_KEEP_FLAGS:-}" ]; then
    keep_environment
    set_up "$@"
fi
if [ -n "$skip_start" ]; then
    rm -rf $PREFIX/former
    say 'Set up, and not started, as asked'
    exit 0
fi
if [ "$before" = "$(state_of_files)" ] && runs && ! asked "${INSTALL_EDGEK_FORCE_RESTART:-}"; then
    say 'Nothing changed: edgek runs on as it is'
    former_pid='' began=$(date +%s) log_before=$(stat -c %s $LOG 2>/dev/null || echo 0)
else
    run_service
fi
if [ -n "$agentless" ]; then say 'Running without a node, as asked (--disable-agent)'; exit 0; fi
wait_until_ready
rm -rf $PREFIX/former
[ -z "$file" ] || rm -rf $PREFIX/venv
say_what_next_$role
