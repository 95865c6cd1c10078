# Runs as root in the emulated machine (test_machine.py): what a user does with the one file on a Debian 12 box that has nothing else. Each step prints a
# line; the first that fails ends it. Limits of time are for the slowest machine that emulates this one, with others beside it.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export INSTALL_EDGEK_SKIP_SIGNATURE=1 EDGEK_READY_TIMEOUT=600 # there is no openssl

fail() {
    echo "FAILED: $*"
    journalctl -u edgek --no-pager | tail -n 40
    tail -n 20 /var/lib/edgek/agent/containerd/containerd.log || true
    kubectl get pods,nodes -o wide 2>&1 || true
    kubectl get events 2>&1 | tail -n 20 || true
    exit 1
}
uptime_s() { cut -d. -f1 /proc/uptime; }
until_true() { # SECONDS WHAT COMMAND...
    seconds=$1 what=$2
    shift 2
    end=$(($(uptime_s) + seconds))
    until "$@" >/dev/null 2>&1; do
        test "$(uptime_s)" -lt "$end" || fail "$what"
        sleep 1
    done
    echo "STEP $what"
}
answers() { test "$(/judge/curl -sS --fail --max-time 10 "$1")" = "$2"; }
ready() { test "$(kubectl get deployment nginx-deployment -o 'jsonpath={.status.readyReplicas}/{.status.updatedReplicas}/{.status.replicas}')" = "$1/$1/$1"; }
traces() {
    ip -o link | cut -d: -f2
    ip route
    /judge/nft list tables
    mount | grep -E 'edgek|kubelet' || true
    find /sys/fs/cgroup -name 'pod*' -type d
}

for program in python3 containerd runc nft kubectl curl conntrack gcc; do ! command -v $program || fail "$program is here"; done
modprobe virtio_net
until_true 60 'a network card' ip link show eth0
ip link set eth0 up
ip addr add 192.0.2.10/24 dev eth0
traces >/root/before
test -e /sys/fs/cgroup/cgroup.controllers && echo 'STEP cgroup v2'

mkdir -p /var/lib/edgek/agent/images
cp /images/*.tar /var/lib/edgek/agent/images/
sh /opt/edgek/install.sh --node-name box || fail 'install.sh'
systemctl is-active edgek && echo 'STEP the service is active'
edgek check || fail 'edgek check'

kubectl apply -f /job.json
until_true 300 'two replicas are ready' ready 2
address=$(kubectl get service nginx -o 'jsonpath={.spec.clusterIP}')
until_true 120 'the Service answers' answers "http://$address/" one
until_true 120 'the NodePort answers' answers http://192.0.2.10:30080/ one
pod=$(kubectl get pods -l app=nginx -o 'jsonpath={.items[0].metadata.name}')
until_true 120 'a pod reaches it by its name' kubectl exec "$pod" -- curl -sS --fail --max-time 10 http://nginx.default.svc.cluster.local/
test "$(cat /proc/"$(cat /run/edgek/containerd.pid | cut -d' ' -f1)"/cgroup | wc -l)" = 1 && echo 'STEP one hierarchy'
until_true 60 'memory is limited by cgroup v2' sh -c 'cat /sys/fs/cgroup/kubepods*/burstable/pod*/memory.max /sys/fs/cgroup/kubepods/pod*/memory.max 2>/dev/null | grep -qx 67108864'

kubectl scale deployment/nginx-deployment --replicas=5
until_true 400 'five replicas are ready' ready 5
kubectl set image deployment/nginx-deployment nginx=nginx:1.28
rolled() { answers http://192.0.2.10:30080/ two && ready 5 && test "$(kubectl get pods -o name | wc -l)" = 5; } # those that end are counted below, too
until_true 400 'rolled to the new version' rolled

before=$(kubectl get pods -l app=nginx -o 'jsonpath={range .items[*]}{.metadata.name}{.status.containerStatuses[0].containerID}{"\n"}{end}' | sort)
systemctl kill --kill-whom=main -s KILL edgek
until_true 300 'edgek is back after kill -9' kubectl get --raw /readyz
sleep 5
after=$(kubectl get pods -l app=nginx -o 'jsonpath={range .items[*]}{.metadata.name}{.status.containerStatuses[0].containerID}{"\n"}{end}' | sort)
test "$before" = "$after" || fail "pods were restarted: $before / $after"
echo 'STEP no pod was touched by it'

kubectl delete deployment/nginx-deployment service/nginx
until_true 300 'all pods are gone' sh -c 'test -z "$(kubectl get pods -o name)"'
gone() {
    edgek-uninstall || fail 'uninstall'
    traces >/root/after
    diff /root/before /root/after || fail 'something is left'
    for path in /var/lib/edgek /run/edgek /etc/edgek /var/lib/kubelet /var/log/pods /usr/local/bin/edgek /etc/systemd/system/edgek.service; do
        test ! -e $path || fail "$path is left"
    done
}
gone
echo 'STEP nothing is left'

# The server is elsewhere now, in a namespace, and this machine becomes its node.
ip netns add hq
ip link add hq0 type veth peer name eth0 netns hq
ip addr add 198.51.100.2/24 dev hq0
ip link set hq0 up
ip -n hq addr add 198.51.100.1/24 dev eth0
ip -n hq link set lo up
ip -n hq link set eth0 up
hq() { EDGEK_DATA_DIR=/root/hq EDGEK_RUN_DIR=/root/hq/run nsenter --net=/run/netns/hq /opt/edgek/edgek-*-linux-amd64 "$@"; }
hq_kubectl() { KUBECONFIG=/root/hq.yaml hq kubectl "$@"; }
hq server --disable-agent --write-kubeconfig /root/hq.yaml >/root/hq.log 2>&1 &
until_true 300 'the server elsewhere answers' hq_kubectl get --raw /readyz
token=$(hq token)
EDGEK_URL=https://198.51.100.1:6443 sh /opt/edgek/install.sh 2>&1 | grep -q 'give EDGEK_TOKEN' || fail 'without a token'
EDGEK_URL=https://198.51.100.1:6443 EDGEK_TOKEN=$token sh /opt/edgek/install.sh --node-name far || fail 'install.sh of an agent'
hq_kubectl get node far | grep -w Ready || fail 'the server says otherwise'
systemctl is-active edgek && systemctl is-enabled edgek && echo 'STEP the agent is a service that starts with the machine'
test "$(stat -c %a /etc/edgek/edgek.env)" = 600 && ! grep -q "$token" /etc/systemd/system/edgek.service && echo 'STEP its token is for root alone'
former=$(cat /run/edgek/edgek.pid)
systemctl kill --kill-whom=main -s KILL edgek
until_true 300 'the agent is back after kill -9' sh -c "test \"\$(cat /run/edgek/edgek.pid)\" != $former && edgek status"
kill "$(cat /root/hq/run/edgek.pid)"
wait
ip link del hq0
ip netns del hq
gone
echo 'STEP nothing is left of the agent'
echo 'ALL DONE'
