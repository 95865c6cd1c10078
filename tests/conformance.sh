#!/bin/bash
# tests/conformance.sh [FOCUS]: upstream's own conformance suite (Kubernetes v1.36.4) against an edgek of one node, or two. Needs root and ../shared/judges.
#
#   FOCUS     a regular expression that specs must match: '\[sig-(node|storage|cli)\]' are those that most need nothing but a good node
#   SKIP      a regular expression of specs to leave out. Of what is missing, specs of admission policies wait for ever:
#             SKIP='AdmissionPolicy|Webhook|CustomResource|Aggregator|CRD|StatefulSet|CronJob'
#   NODES     1 | 2 (default 1): with 2 an agent joins from a namespace of its own, and pods of the two reach each other by VXLAN
#   WORK      where the suite's programs and images are built (default /tmp/j); the first time takes a quarter of an hour
#   PART      parallel | serial | all (default parallel: the specs marked Serial or Disruptive take long and want a machine of their own)
#   PROCS     specs at once (default 6)
#   LIMIT     seconds for each part (default 5400): at the limit what still runs is interrupted, and the report is written
#   KEEP=1    leave the cluster running afterwards, and say how to reach it
# Results: the summary here, everything in $WORK/results/<time>.
#
# Beyond the suite: specs that enter their host by its first process (`[Driver: local]`) fail where nobody may do that, as in a sandbox. With an edgek
# in a PID namespace of its own (unshare --pid --fork --kill-child --mount-proc sh -c 'mount --make-rshared /; exec "$@"' ...) that process is one of ours.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
JUDGES=$HERE/../shared/judges
NODES=${NODES:-1}
export WORK=${WORK:-/tmp/j} MIN_NODES=$NODES PART=${PART:-parallel} PROCS=${PROCS:-6}
NAME=ek-conformance DIR=/tmp/$NAME
export NETNS=$NAME
# The judge splits E2E_ARGS at blanks: a dot matches one too.
[ -z "${SKIP:-}" ] || export E2E_ARGS="${E2E_ARGS:-} --ginkgo.skip=${SKIP// /.}"
PYTHON=${PYTHON:-$HERE/.venv/bin/python}
NODE_IP=198.18.255.2 SECOND_IP=198.18.254.2 CABLE_IP=198.18.254.1

[ -d "$JUDGES" ] || { echo "the judges are not here ($JUDGES): conformance was not checked" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "conformance needs root" >&2; exit 2; }
[ -x "$WORK/bin/e2e.test" ] || "$JUDGES/build.sh" apt k8s containerd images busybox
[ -e "$WORK/img/all.tar" ] || python3 "$JUDGES/images.py"

inside() { nsenter --net=/run/netns/$NAME "$@"; }
second() { nsenter --net=/run/netns/$NAME-2 "$@"; }
kubectl() { inside "$WORK/bin/kubectl136" --kubeconfig $DIR/kubeconfig "$@"; }
uninstall() { # DATA_DIR RUN_DIR
    EDGEK_DATA_DIR=$1 EDGEK_RUN_DIR=$2 "$HERE/packaging/uninstall.sh" --node-only >/dev/null 2>&1 || true
}
stop() {
    export -f uninstall && export HERE
    [ ! -e /run/netns/$NAME-2 ] || second bash -c "uninstall $DIR/d2 $DIR/r2"
    [ ! -e /run/netns/$NAME ] || inside bash -c "uninstall $DIR/d $DIR/r"
    for name in $NAME-2 $NAME; do
        ip netns del $name 2>/dev/null || true
        ip link del $name 2>/dev/null || true
    done
    rm -rf $DIR
}
join_second() { # in a UTS namespace of its own: a node's name is its host's
    mkdir -p $DIR/d2/agent/images
    ln $DIR/d/agent/images/all.tar $DIR/d2/agent/images/
    ip netns add $NAME-2
    ip -n $NAME link add second type veth peer name eth0 netns $NAME-2
    ip -n $NAME addr add $CABLE_IP/30 dev second
    ip -n $NAME link set second up
    ip -n $NAME-2 link set lo up
    ip -n $NAME-2 addr add $SECOND_IP/30 dev eth0
    ip -n $NAME-2 link set eth0 up
    ip -n $NAME-2 route add default via $CABLE_IP
    second unshare --uts setsid sh -c 'hostname "$0"; exec "$@"' "$(hostname)-2" \
        "$PYTHON" -m edgek agent --data-dir $DIR/d2 --run-dir $DIR/r2 --node-ip $SECOND_IP --private-registry $DIR/registries.yaml \
        --join https://$NODE_IP:6443 --token "$(inside "$PYTHON" -m edgek token --data-dir $DIR/d --run-dir $DIR/r)" >$DIR/log2 2>&1 </dev/null &
}
wait_for() { # COUNT
    for _ in $(seq 120); do
        [ "$(kubectl get nodes --no-headers 2>/dev/null | grep -c ' Ready ')" = "$1" ] && return
        sleep 1
    done
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
wait_for 1
[ "$NODES" = 1 ] || { join_second && wait_for 2; }
status=0
"$JUDGES/conformance.sh" $DIR/kubeconfig "${1:-}" || status=$?
if [ -n "${KEEP:-}" ]; then
    echo "the cluster is still there: nsenter --net=/run/netns/$NAME kubectl --kubeconfig $DIR/kubeconfig ...; its log is $DIR/log; run this again to replace it"
else
    stop
fi
exit $status
