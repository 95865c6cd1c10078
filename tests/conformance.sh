#!/bin/bash
# tests/conformance.sh [FOCUS]: upstream's own conformance suite (Kubernetes v1.36.4) against a one-node edgek. Needs root and ../shared/judges.
#
#   FOCUS     a regular expression that specs must match: '\[sig-(node|storage|cli)\]' are those that most need nothing but a good node
#   WORK      where the suite's programs and images are built (default /tmp/j); the first time takes a quarter of an hour
#   PART      parallel | serial | all (default parallel: the specs marked Serial or Disruptive take long and want a machine of their own)
#   PROCS     specs at once (default 6)
#   KEEP=1    leave the cluster running afterwards, and say how to reach it
# Results: the summary here, everything in $WORK/results/<time>.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
JUDGES=$HERE/../shared/judges
export WORK=${WORK:-/tmp/j} MIN_NODES=1 PART=${PART:-parallel} PROCS=${PROCS:-6}
NAME=ek-conformance DIR=/tmp/$NAME
export NETNS=$NAME
PYTHON=${PYTHON:-$HERE/.venv/bin/python}
NODE_IP=198.18.255.2

[ -d "$JUDGES" ] || { echo "the judges are not here ($JUDGES): conformance was not checked" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "conformance needs root" >&2; exit 2; }
[ -x "$WORK/bin/e2e.test" ] || "$JUDGES/build.sh" apt k8s containerd images busybox
[ -e "$WORK/img/all.tar" ] || python3 "$JUDGES/images.py"

inside() { nsenter --net=/run/netns/$NAME "$@"; }
stop() {
    [ ! -f $DIR/pid ] || kill "$(cat $DIR/pid)" 2>/dev/null || true
    [ ! -e /run/netns/$NAME ] || EDGEK_DATA_DIR=$DIR/d EDGEK_RUN_DIR=$DIR/r inside "$HERE/packaging/uninstall.sh" --node-only >/dev/null 2>&1 || true
    ip netns del $NAME 2>/dev/null || true
    ip link del $NAME 2>/dev/null || true
    rm -rf $DIR
}

stop
mkdir -p $DIR/d/agent/images
ln "$WORK/img/all.tar" $DIR/d/agent/images/ 2>/dev/null || cp "$WORK/img/all.tar" $DIR/d/agent/images/
ip netns add $NAME
ip link add $NAME type veth peer name eth0 netns $NAME
ip addr add 198.18.255.1/30 dev $NAME
ip link set $NAME up
ip -n $NAME link set lo up
ip -n $NAME addr add $NODE_IP/30 dev eth0
ip -n $NAME link set eth0 up
ip -n $NAME route add default via 198.18.255.1

cd "$HERE"
# The node's name is the host's: a spec compares it with what `hostname` says in a pod on the host's network.
inside setsid "$PYTHON" -m edgek server --data-dir $DIR/d --run-dir $DIR/r --write-kubeconfig $DIR/kubeconfig --node-ip $NODE_IP \
    --private-registry $DIR/registries.yaml >$DIR/log 2>&1 </dev/null &
echo $! >$DIR/pid
for _ in $(seq 120); do
    inside "$WORK/bin/kubectl136" --kubeconfig $DIR/kubeconfig get nodes --no-headers 2>/dev/null | grep -q ' Ready ' && break
    sleep 1
done
status=0
"$JUDGES/conformance.sh" $DIR/kubeconfig "${1:-}" || status=$?
if [ -n "${KEEP:-}" ]; then
    echo "the cluster is still there: nsenter --net=/run/netns/$NAME kubectl --kubeconfig $DIR/kubeconfig ...; its log is $DIR/log; run this again to replace it"
else
    stop
fi
exit $status
