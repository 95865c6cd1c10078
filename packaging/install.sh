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
#
# Once the new file is in place, an installation that fails, is interrupted, or loses its terminal puts the former one back by itself; after a power cut
# the next one does. Variables that are switches take 1, true, yes and 0, false, no.
set -eu

PUBLIC_KEY=''
CRASHES_MOST=3   # ends of a service before its node was ever Ready: it will not come up any more
PREFIX=/usr/local/lib/edgek
PLACES=$PREFIX/places # of a former installation
LOG=/var/log/edgek.log
RC=/etc/init.d/edgek
CONFIG_DIR=/etc/edgek
ENVIRONMENT=$CONFIG_DIR/edgek.env
ARGUMENTS=$PREFIX/arguments # of the service, as a shell reads them
BIN_DIR=/usr/local/bin SYSTEMD_DIR=/etc/systemd/system
# shellcheck source=/dev/null
[ ! -r $PLACES ] || . $PLACES
BIN_DIR=${INSTALL_EDGEK_BIN_DIR:-$BIN_DIR} SYSTEMD_DIR=${INSTALL_EDGEK_SYSTEMD_DIR:-$SYSTEMD_DIR}
UNIT=$SYSTEMD_DIR/edgek.service
HERE='' CHECKOUT=/nowhere placed='' restarted='' work='' # read from a pipe, this lies nowhere
if [ -f "$0" ]; then
    HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
    CHECKOUT=$(dirname "$HERE")
fi
READY_TIMEOUT=${EDGEK_READY_TIMEOUT:-300}

if [ -t 1 ]; then BOLD=$(printf '\033[1m') PLAIN=$(printf '\033[0m'); else BOLD='' PLAIN=''; fi
say() { printf '%s[edgek]%s %s\n' "$BOLD" "$PLAIN" "$*" || true; } # the terminal may be gone by now
die() { printf '[edgek] %s\n' "$*" >&2 || true; exit 1; }
case ${1:-} in --help | -h)
    [ -z "$HERE" ] || sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
    exit 0 ;;
esac
[ "$(id -u)" = 0 ] || die "installing needs root; try: sudo $0 $*"
[ "$(uname -s)" = Linux ] || die "edgek runs on Linux, this is $(uname -s)"

# --- what was asked for ----------------------------------------------------------------------------------------------------------------------

SWITCHES='SKIP_DOWNLOAD SKIP_SIGNATURE KEEP_FLAGS SKIP_START SKIP_ENABLE FORCE_RESTART'
WORDS='FILE DIR URL VERSION PUBLIC_KEY EXEC SYMLINK BIN_DIR SYSTEMD_DIR'

given() { eval "printf %s \"\${INSTALL_EDGEK_$1:-}\""; }
asked() { case $(given "$1") in 1 | true | yes) ;; *) return 1 ;; esac; }

check_variables() { # before anything is done
    for name in $SWITCHES; do
        case $(given "$name") in '' | 0 | 1 | true | false | yes | no) ;; *) die "INSTALL_EDGEK_$name=$(given "$name"): say 1 or 0" ;; esac
    done
    case $(given SYMLINK) in '' | skip | force) ;; *) die "INSTALL_EDGEK_SYMLINK=$(given SYMLINK): say skip, force, or nothing" ;; esac
    case $READY_TIMEOUT in '' | 0 | *[!0-9]*) die "EDGEK_READY_TIMEOUT=$READY_TIMEOUT: say how many seconds" ;; esac
    for name in BIN_DIR SYSTEMD_DIR; do
        place=''
        eval "place=\$$name"
        case $place in /*) ;; *) die "INSTALL_EDGEK_$name=$place: say a whole path, from / on" ;; esac
        case $place in *[!A-Za-z0-9/._+-]*) die "INSTALL_EDGEK_$name=$place: units and service scripts want a path of letters, digits and / . _ + - alone" ;; esac
    done
    for name in $(env | sed -n 's/^INSTALL_EDGEK_\([A-Z0-9_]*\)=.*/\1/p'); do
        case " $SWITCHES $WORDS " in *" $name "*) ;; *) say "INSTALL_EDGEK_$name says nothing to this installer: it goes on without" ;; esac
    done
}

# --- one at a time, and the way back ---------------------------------------------------------------------------------------------------------

LOCK=/run/edgek-install # a link to the number of the process that holds it: made in one step, without a program that is not everywhere

lock() {
    until ln -s $$ $LOCK 2>/dev/null; do
        holder=$(readlink $LOCK) || die "there is no writing to ${LOCK%/*}: mount it read-write"
        ! kill -0 "$holder" 2>/dev/null || die "another installation is under way (process $holder): wait for its end"
        rm -f $LOCK
    done
}

finish() { # however it ends
    code=$?
    trap '' HUP INT TERM PIPE
    rm -rf "$work"
    rm -f "$BIN_DIR/.edgek.new"
    if [ -n "$placed" ]; then
        placed=''
        if [ -e $PREFIX/former/edgek ]; then
            say 'It was not finished: going back to the version before'
            take_back
        else
            say 'It was not finished: run it again, or take it away with edgek-uninstall'
        fi
    fi
    rm -f $LOCK
    exit $code
}

settle() { sync "$@" 2>/dev/null || sync; } # on the disk before it counts, or a power cut may leave it empty; old programs know no files

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
    file='' fetched=''
    [ -f "$CHECKOUT/pyproject.toml" ] || architecture >/dev/null # refused before anything is fetched
    if [ -n "${INSTALL_EDGEK_FILE:-}" ]; then
        [ -f "$INSTALL_EDGEK_FILE" ] || die "INSTALL_EDGEK_FILE=$INSTALL_EDGEK_FILE is not there"
        file=$INSTALL_EDGEK_FILE
    elif [ -n "${INSTALL_EDGEK_URL:-}" ]; then
        [ -n "${INSTALL_EDGEK_VERSION:-}" ] || die 'INSTALL_EDGEK_URL: say which INSTALL_EDGEK_VERSION, too'
        file=$work/edgek-$INSTALL_EDGEK_VERSION-linux-$(architecture) fetched=1
        for suffix in '' .sha256 .sha256.sig; do
            fetch "$INSTALL_EDGEK_URL/${file##*/}$suffix" "$file$suffix" || [ "$suffix" = .sha256.sig ] || die "cannot fetch $INSTALL_EDGEK_URL/${file##*/}$suffix"
        done
    else
        folder=${INSTALL_EDGEK_DIR:-$HERE}
        [ -n "$folder" ] || die 'which edgek? Say where it is with INSTALL_EDGEK_URL and INSTALL_EDGEK_VERSION, or with INSTALL_EDGEK_FILE'
        name=edgek-${INSTALL_EDGEK_VERSION:-*}-linux-$(architecture)
        # shellcheck disable=SC2012,SC2086 # a pattern; names of ours hold no line breaks
        file=$(ls -d "$folder"/$name 2>/dev/null | sort -V | tail -n 1)
        if [ -z "$file" ]; then
            [ -z "${INSTALL_EDGEK_DIR:-}${INSTALL_EDGEK_VERSION:-}" ] || die "there is no $name in $folder"
            [ -f "$CHECKOUT/pyproject.toml" ] || die "there is no $name in $folder: name one with INSTALL_EDGEK_FILE"
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

verify() { # FILE, before anything of it runs. What it should be is then in $sum
    shown=$1
    [ -z "$fetched" ] || shown=$INSTALL_EDGEK_URL/${1##*/}
    [ "$(head -c 4 "$1" | tr -d '\177')" = ELF ] || die "$shown is no program: it is damaged, or something else"
    case $(architecture) in amd64) machine=62 ;; arm64) machine=183 ;; esac
    [ "$(od -An -tu1 -j18 -N1 "$1" | tr -d ' ')" = $machine ] || die "$shown is for another kind of machine than this $(uname -m)"
    [ -f "$1.sha256" ] || die "$shown.sha256 is missing: put it beside the file"
    cp "$1.sha256" "$work/sums" # what was looked at is what counts, whoever may write to the folder
    sum=$(cut -d' ' -f1 <"$work/sums")
    [ "$(sum_of "$1")" = "$sum" ] || die "$shown is not what its checksum says: it is damaged, or was changed. Copy it again"
    if asked SKIP_SIGNATURE; then say 'Its signature is not looked at, as asked'; return; fi
    key=${INSTALL_EDGEK_PUBLIC_KEY:-$PUBLIC_KEY}
    [ -n "$key" ] || die 'nobody is known whose signature would count: give INSTALL_EDGEK_PUBLIC_KEY, or INSTALL_EDGEK_SKIP_SIGNATURE=1 to believe the checksum alone'
    [ -f "$1.sha256.sig" ] || die "$shown.sha256.sig is missing: put it beside the file, or give INSTALL_EDGEK_SKIP_SIGNATURE=1 to believe the checksum alone"
    cp "$1.sha256.sig" "$work/signature"
    printf -- '-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n' "$key" >"$work/key.pem"
    # Never the new file itself: it would vouch for itself.
    if openssl pkeyutl -help 2>&1 | grep -q rawin; then # 3.0 or newer
        openssl pkey -pubin -in "$work/key.pem" -noout 2>/dev/null || die "$key is no public key: say the base64 of an Ed25519 one"
        openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$work/sums" -sigfile "$work/signature" >/dev/null 2>&1
    elif [ -x $BIN_DIR/edgek ]; then
        $BIN_DIR/edgek internal-tool verify "$work/key.pem" "$work/sums" "$work/signature"
    else
        die 'neither openssl (3.0 or newer) nor a former edgek is here to look at the signature: install openssl, or give INSTALL_EDGEK_SKIP_SIGNATURE=1 to' \
            'believe the checksum alone'
    fi || die "$shown was not signed by the one whose key this is: it was changed, or comes from somebody else"
    say 'Checksum and signature are right'
}

sum_of() { sha256sum <"$1" | cut -d' ' -f1; }

refuse_file() { # WHY: as if nothing had been tried
    rm -f "$BIN_DIR/.edgek.new"
    case $tree in */dist/????????????) rm -rf "$tree" ;; esac
    [ -n "$had_data" ] || { rm -rf "$unpacked/dist" && rmdir "$unpacked"; } 2>/dev/null || true
    [ -n "$cut_off" ] || rm -rf $PREFIX/former
    [ -e "$BIN_DIR/edgek" ] || rm -rf $PREFIX
    die "$1; nothing was changed"
}

saved_as() { echo "$PREFIX/former/$(echo "$1" | tr / ,)"; }

keep_former() { # what is here, for the way back; of one that was cut off, what was here before that
    unpacked=${EDGEK_DATA_DIR:-/var/lib/edgek} tree='' # by itself, when it is run first
    if [ -d "$unpacked" ]; then had_data=1; else had_data=''; fi
    mkdir -p $PREFIX "$BIN_DIR" || die "there is no writing to $PREFIX or $BIN_DIR: mount it read-write (INSTALL_EDGEK_BIN_DIR moves the commands)"
    if [ -n "$cut_off" ]; then return; fi
    rm -rf $PREFIX/former $PREFIX/former.new
    mkdir $PREFIX/former.new || return 1
    if [ -e $BIN_DIR/edgek ]; then cp -a $BIN_DIR/edgek $PREFIX/former.new/edgek || return 1; fi
    for kept in $UNIT $RC $ENVIRONMENT $ARGUMENTS "$PREFIX"/*.sh; do
        [ ! -e "$kept" ] || cp -a "$kept" "$PREFIX/former.new/$(echo "$kept" | tr / ,)" || return 1
    done
    settle
    mv $PREFIX/former.new $PREFIX/former || return 1
}

put_in_place() { # FILE FLAG...
    new=$1
    shift
    fresh=$BIN_DIR/.edgek.new
    keep_former || refuse_file "what is here cannot be kept in $PREFIX for the way back (see above)"
    cp "$new" "$fresh" || refuse_file "$new cannot be copied to $BIN_DIR (see above)"
    chmod 755 "$fresh"
    settle "$fresh"
    [ "$(sum_of "$fresh")" = "$sum" ] || refuse_file "the copy of $new in $BIN_DIR is not like it: it was changed meanwhile, or the disk is broken"
    tree=$unpacked/dist/$(tail -c 80 "$fresh" | head -c 12) # by what onefile/archive.py writes last
    [ ! -e "$tree" ] || tree=''
    "$fresh" --version >/dev/null || refuse_file "$new does not run here (see above)"
    check_flags "$@"
    placed=1
    trap '' HUP PIPE # a terminal that goes away leaves nothing half done
    if cmp -s "$fresh" $BIN_DIR/edgek; then rm "$fresh"; else mv "$fresh" $BIN_DIR/edgek; fi
    share=$($BIN_DIR/edgek internal-tool share)
    for script in "$share"/*.sh; do # each in one step: one may be running
        cp "$script" $PREFIX/.new
        mv $PREFIX/.new "$PREFIX/${script##*/}"
    done
    ln -sf $PREFIX/uninstall.sh $BIN_DIR/edgek-uninstall
    for face in ctr kubectl; do
        [ -x "$share/../bin/$face" ] || continue
        case ${INSTALL_EDGEK_SYMLINK:-} in
        skip) ;;
        force) ln -sf edgek $BIN_DIR/$face ;;
        *) command -v $face >/dev/null 2>&1 || [ -e $BIN_DIR/$face ] || ln -s edgek $BIN_DIR/$face ;;
        esac
    done
    say "$($BIN_DIR/edgek --version) is in place"
}

check_flags() { # FLAG...: would the new version start with them? What a machine lacks that runs one already, its owner has lived with
    if "$fresh" check $role "$@" >"$work/check" 2>&1; then return; else code=$?; fi
    if [ $code = 1 ] && { [ -e $BIN_DIR/edgek ] || [ -n "$skip_start" ]; }; then return; fi
    cat "$work/check" >&2
    case $code in
    1) refuse_file 'this machine cannot run edgek yet' ;;
    2) refuse_file 'edgek takes no such flags or settings (see above)' ;;
    *) refuse_file "it cannot even look at this machine: \`edgek check\` ended with code $code (see above)" ;;
    esac
}

take_back() { # the former version, and what it was started with; it runs again if it was stopped
    cp -a $PREFIX/former/edgek $BIN_DIR/.edgek.new
    settle
    mv $BIN_DIR/.edgek.new $BIN_DIR/edgek
    for kept in $UNIT $RC $ENVIRONMENT $ARGUMENTS "$PREFIX"/*.sh; do
        saved=$(saved_as "$kept")
        if [ -e "$saved" ] && ! cmp -s "$saved" "$kept"; then cp -a "$saved" "$kept"; fi
    done
    settle
    rm -rf $PREFIX/former
    [ -z "$restarted" ] || run_service
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
    for face in ctr kubectl; do if [ "$(readlink $BIN_DIR/$face)" = edgek ]; then rm $BIN_DIR/$face; fi; done # only the one file has these
    ln -sf $PREFIX/uninstall.sh $BIN_DIR/edgek-uninstall
}

# --- a server or an agent --------------------------------------------------------------------------------------------------------------------

# As uninstall.sh has them: each must do without the other.
kept() { # NAME: what the service was given before
    sed -n "s/^$1=//p" $ENVIRONMENT 2>/dev/null | tail -n 1 | sed -e "s/^'\(.*\)'\$/\1/" -e '/^".*"$/{s/^"\(.*\)"$/\1/' -e 's/\\\(["\\$`]\)/\1/g' -e '}'
}

setting() { # NAME: what the configuration file says
    sed -n "s/^$1:[[:space:]]*//p" "${EDGEK_CONFIG:-$CONFIG_DIR/config.yaml}" 2>/dev/null | head -n 1 |
        sed -e 's/[[:space:]][[:space:]]*#.*$//' -e "s/^'\(.*\)'\$/\1/" -e 's/^"\(.*\)"$/\1/'
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

quoted() { # the arguments as one line that a shell reads back as they were; plain words stay plain
    for argument in "$@"; do
        case $argument in
        '' | *[!A-Za-z0-9/._:=,@+-]*) printf " '%s'" "$(escaped "$argument")" ;;
        *) printf ' %s' "$argument" ;;
        esac
    done
}

quoted_for_systemd() { # which also takes \ % and $ for something of its own
    for argument in "$@"; do printf ' "%s"' "$(printf %s "$argument" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' -e 's/\$/$$/g')"; done
}

keep_environment() { # for root alone: tokens stand in it
    mkdir -p $CONFIG_DIR
    (
        umask 077
        for name in $(env | sed -n 's/^\(EDGEK_[A-Z0-9_]*\)=..*/\1/p; s/^\(\(HTTPS*\|NO\|https*\|no\)_\(PROXY\|proxy\)\)=..*/\1/p' | sort); do
            case $name in EDGEK_WHEELS | EDGEK_READY_TIMEOUT | EDGEK_SKIP_START | EDGEK_PYTHON) continue ;; esac
            eval "value=\${$name-}"
            case $value in # a shell and systemd read either alike, but no other way to write a quote within quotes
            *"'"*) printf '%s="%s"\n' "$name" "$(printf %s "$value" | sed 's/[\\"$`]/\\&/g')" || exit 1 ;;
            ?*) printf "%s='%s'\n" "$name" "$value" || exit 1 ;;
            esac
        done >$ENVIRONMENT.new
    ) || die "$ENVIRONMENT.new cannot be written (see above)"
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
ExecStart=$BIN_DIR/edgek $role$(quoted_for_systemd "$@")
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
    # shellcheck source=/dev/null
    . $ENVIRONMENT
    set +a
    eval "set -- $(cat $ARGUMENTS)"
    (trap - HUP PIPE; $PREFIX/supervise.sh start $BIN_DIR/edgek "$@") # what we ignore, pods would ignore, too
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
    esac
    echo "$role$(quoted "$@")" >$ARGUMENTS
}

uptime_s() { cut -d. -f1 /proc/uptime; } # a clock that is set meanwhile does not matter to it

begin() { # to wait, and to listen to what is said from now on
    log_before=$(stat -c %s $LOG 2>/dev/null || echo 0) began=$(date +%s) began_s=$(uptime_s)
}

run_service() { # anew, as it is set up
    restarted=1
    begin
    case $manager in
    systemd)
        say 'Starting edgek.service'
        systemctl daemon-reload
        systemctl reset-failed edgek 2>/dev/null || true
        systemctl restart --no-block edgek ;;
    openrc)
        say 'Starting the OpenRC service edgek'
        (trap - HUP PIPE; rc-service -q edgek restart) || give_up "\`rc-service edgek start\` did not do it (see above)" ;;
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

wait_until_ready() { # WHAT: server, agent, or the api alone; says what it waits for
    shown=''
    until state=$(state_of_$1); do
        waited=$(($(uptime_s) - began_s))
        said=$(last_word)
        case $said in
        *'cannot go on'* | *'cannot start'* | 'edgek '*': error: '* | 'edgek '[a-z]*': '* | 'edgek: '*) give_up "$said" ;;
        *'cannot join yet'*) state=$said ;;
        esac
        [ "$(crashes)" -lt $CRASHES_MOST ] || give_up "$(last_error)"
        now=$(echo "$state" | sed 's/^[0-9TZ:-]* //')
        [ "$now" = "$shown" ] || { say "Waiting: $now"; shown=$now; }
        if [ "$waited" -ge "$READY_TIMEOUT" ]; then
            go_back "it was not Ready within $READY_TIMEOUT s"
            die "it was not Ready within $READY_TIMEOUT s; it goes on trying. See what it says: $follow"
        fi
        sleep 1
    done
    say "$state after $(($(uptime_s) - began_s)) s"
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
    placed=''
    [ -e $PREFIX/former/edgek ] || return 0
    say "$1"
    say 'Going back to the version before'
    take_back
    former_pid='' waited=0
    until is_started >/dev/null; do
        [ "$waited" -lt "$READY_TIMEOUT" ] || die "$($BIN_DIR/edgek --version) is in place again, and does not start either: $(last_word)"
        waited=$((waited + 1))
        sleep 1
    done
    die "$($BIN_DIR/edgek --version) runs again, as before; the new one did not come up: $1"
}

status() { $BIN_DIR/edgek status --data-dir "$data" --run-dir "$run" ${port:+--https-listen-port "$port"} ${bind:+--bind-address "$bind"}; }

state_of_server() { # of its own node: what others last said counts for nothing
    is_started || return 1
    found=$(status 2>/dev/null | awk -v node="$node" '/^NODE  *STATE/ {table = 1; next} /^$/ {table = 0} table && $1 == node {print $1 " is " $2}')
    echo "${found:-the API is starting}"
    case $found in *' is Ready'*) ;; *) return 1 ;; esac
}

state_of_api() { # of a server without a node
    is_started || return 1
    found=$(status 2>/dev/null | sed -n '1s/.*\(the API is .*\)/\1/p')
    echo "${found:-the API is starting}"
    [ "$found" = 'the API is healthy' ]
}

state_of_agent() { # by its own word: there is no kubeconfig here
    is_started || return 1
    if found=$(status 2>&1); then fine=0; else fine=1; fi
    echo "$found" | head -n 1
    return $fine
}

last_word() { # of the service, since it was started last
    case $manager in
    systemd) journalctl "_SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value edgek)" -n 1 -o cat --no-pager ;;
    *) words | grep -v '^\[supervise\]' | tail -n 1 ;;
    esac 2>/dev/null
}

words() { # all that it said since we started it, and nothing that was said of it
    case $manager in
    systemd) journalctl _SYSTEMD_UNIT=edgek.service --since "@$began" -o cat --no-pager ;;
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
    found=${found:-$(words | grep -v '^\[supervise\]' | tail -n 1)}
    echo "${found:-it ends as soon as it is started, and says nothing} (all it said: $follow)" | sed 's/tail -f/tail/; s/-fu/-u/'
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

where() { # what `edgek status` must be told besides, to find this edgek
    [ "$data" = /var/lib/edgek ] || quoted --data-dir "$data"
    [ "$run" = /run/edgek ] || quoted --run-dir "$run"
    [ -z "$port" ] || quoted --https-listen-port "$port"
    [ -z "$bind" ] || quoted --bind-address "$bind"
}

say_what_next_agent() {
    cat <<NEXT

${BOLD}This machine is a node.${PLAIN} Try, here:
    sudo edgek status$(where)

and on the server:  sudo edgek kubectl get nodes
Its log:  $follow
To remove it all:  sudo edgek-uninstall
NEXT
}

say_what_next_server() {
    named=${kubeconfig:+$(quoted --kubeconfig "$kubeconfig")}
    cat <<NEXT

${BOLD}edgek is running.${PLAIN} Try:
    sudo edgek kubectl$named get nodes
    sudo edgek kubectl$named create deployment web --image=nginx --replicas=2
    sudo edgek status$(where)

Your kubectl and Helm find the cluster with:  export KUBECONFIG=${kubeconfig:-/etc/edgek/edgek.yaml}
Its log:  $follow
To remove it all:  sudo edgek-uninstall
NEXT
}

# --- all of it -------------------------------------------------------------------------------------------------------------------------------

take_arguments() { # the flags that matter here; the others are left in $flags, for `eval`
    while [ $# -gt 0 ]; do
        name=${1%%=*} value=${1#*=} words=1
        case $1 in
        --disable-agent) case ${2:-} in true | false) value=$2 words=2 ;; *) value=true ;; esac ;;
        --join | --server | --token | --data-dir | --run-dir | --node-name | --config | --https-listen-port | --bind-address | --write-kubeconfig)
            [ $# -gt 1 ] || die "$1 wants a value behind it"
            value=$2 words=2 ;;
        esac
        secret=''
        case $name in
        --join | --server) EDGEK_URL=$value secret=1 ;; # not into a command line that every user sees
        --token) EDGEK_TOKEN=$value secret=1 ;;
        --data-dir) data=$value ;;
        --run-dir) run=$value ;;
        --node-name) node=$value ;;
        --config) EDGEK_CONFIG=$value ;;
        --https-listen-port) port=$value ;;
        --bind-address) bind=$value ;;
        --write-kubeconfig) kubeconfig=$value ;;
        --disable-agent) agentless=$value ;;
        esac
        while [ $words -gt 0 ]; do
            [ -n "$secret" ] || flags="$flags$(quoted "$1")"
            shift
            words=$((words - 1))
        done
    done
}

fill_in() { # what no flag said: variables, then the configuration file, as edgek itself does it
    data=${data:-${EDGEK_DATA_DIR:-$(setting data-dir)}} run=${run:-${EDGEK_RUN_DIR:-$(setting run-dir)}}
    data=${data:-/var/lib/edgek} run=${run:-/run/edgek}
    for place in "$data" "$run"; do
        case $place in /*) ;; *) die "$place will not do for --data-dir or --run-dir: say a whole path, from / on" ;; esac
    done
    kubeconfig=${kubeconfig:-${EDGEK_WRITE_KUBECONFIG:-$(setting write-kubeconfig)}}
    node=${node:-${EDGEK_NODE_NAME:-$(setting node-name)}}
    node=$(echo "${node:-$(uname -n)}" | tr '[:upper:]' '[:lower:]')
    port=${port:-${EDGEK_HTTPS_LISTEN_PORT:-$(setting https-listen-port)}} bind=${bind:-${EDGEK_BIND_ADDRESS:-$(setting bind-address)}}
    agentless=${agentless:-${EDGEK_DISABLE_AGENT:-$(setting disable-agent)}}
    case $agentless in 1 | true | yes | on) ;; *) agentless='' ;; esac
}

take_in() { # ARGUMENT...: what is wanted here, as $role, $flags and what goes with them
    # What is secret, and who we are, goes where the service's environment is kept.
    EDGEK_URL=${EDGEK_JOIN:-${EDGEK_URL:-}} EDGEK_TOKEN=${EDGEK_TOKEN:-}
    unset EDGEK_JOIN
    # shellcheck disable=SC2086 # a list of words
    set -f && set -- ${INSTALL_EDGEK_EXEC:-} "$@" && set +f
    if asked KEEP_FLAGS; then
        if [ -r $ARGUMENTS ]; then eval "set -- $(cat $ARGUMENTS)"; fi
        for name in URL TOKEN DATA_DIR RUN_DIR NODE_NAME CONFIG HTTPS_LISTEN_PORT BIND_ADDRESS WRITE_KUBECONFIG DISABLE_AGENT; do
            said=$(kept EDGEK_$name)
            [ -z "$said" ] || eval "EDGEK_$name=\$said && export EDGEK_$name"
        done
    fi
    skip_start='' skip_enable=''
    if asked SKIP_ENABLE; then skip_start=1 skip_enable=1; fi
    if asked SKIP_START || [ -n "${EDGEK_SKIP_START:-}" ]; then skip_start=1; fi
    role=''
    case ${1:-} in
    server | agent) role=$1; shift ;;
    -* | '') ;;
    *) die "$1 is neither server nor agent, nor a flag" ;;
    esac
    flags='' data='' run='' node='' port='' bind='' kubeconfig='' agentless=''
    take_arguments "$@"
    fill_in
    role_asked_for
    check_role
    [ "$role" = server ] || [ -n "$skip_start" ] || check_agent
    if [ -n "$EDGEK_URL" ]; then export EDGEK_URL; else unset EDGEK_URL; fi # empty would count as said
    if [ -n "$EDGEK_TOKEN" ]; then export EDGEK_TOKEN; else unset EDGEK_TOKEN; fi
}

lay_down() { # edgek, and what it is started with
    eval "set -- $flags"
    cut_off=''
    [ ! -e $PREFIX/former/edgek ] || cut_off=1
    before=$(state_of_files)
    [ -z "$cut_off" ] || before='' # what runs may be older than what is in place
    if asked SKIP_DOWNLOAD; then
        [ -x $BIN_DIR/edgek ] || die "INSTALL_EDGEK_SKIP_DOWNLOAD: there is no $BIN_DIR/edgek yet"
        file='' fresh=$BIN_DIR/edgek
        keep_former || refuse_file "what is here cannot be kept in $PREFIX for the way back (see above)"
        check_flags "$@"
        placed=1
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
    printf "BIN_DIR='%s' SYSTEMD_DIR='%s'\n" "$BIN_DIR" "$SYSTEMD_DIR" >$PLACES
    echo $role >$PREFIX/role
    if ! asked KEEP_FLAGS; then
        keep_environment
        set_up "$@"
    fi
    settle
}

bring_up() { # and see that it comes up, or the version before again
    if [ "$before" = "$(state_of_files)" ] && runs && ! asked FORCE_RESTART; then
        say 'Nothing changed: edgek runs on as it is'
        former_pid=''
        begin
    else
        run_service
    fi
    if [ -n "$agentless" ]; then wait_until_ready api; else wait_until_ready $role; fi
    done_with_former
    if [ -n "$agentless" ]; then say 'Running without a node, as asked (--disable-agent)'; return; fi
    [ -z "$file" ] || rm -rf $PREFIX/venv
    say_what_next_$role
}

done_with_former() { # there is no way back from here
    placed=''
    rm -rf $PREFIX/former
}

main() {
    check_variables
    lock
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    work=$(mktemp -d) || die 'there is no writing to /tmp: make room there, or set TMPDIR'
    take_in "$@"
    find_service_manager
    former_pid=$(cat "$run/edgek.pid" 2>/dev/null || true)
    lay_down
    if [ -z "$skip_start" ]; then
        bring_up
    else
        done_with_former
        say 'Set up, and not started, as asked'
    fi
}

main "$@" # last: of a script that was cut off on its way here, nothing is done
