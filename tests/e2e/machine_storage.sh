# Runs as the first process of the emulated machine (test_machine_storage.py): storage with the real kernel's NFS client, its server
# and one in user space, and its quotas.
# Each step prints a line; the first that fails ends it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/edgek:/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export KUBECONFIG=/etc/edgek/edgek.yaml
exec >/dev/console 2>&1

step() { echo "STEP $(cut -d. -f1 /proc/uptime) $*"; }
off() {
    systemctl --force --force poweroff
    sleep 60
}
fail() {
    echo "FAILED: $*"
    tail -n 40 /var/log/edgek.log
    tail -n 20 /var/log/ganesha.log
    kubectl get pods -o wide 2>&1 | tail -n 20
    kubectl get events 2>&1 | tail -n 30
    grep nfs /proc/mounts
    off
}
until_true() { # SECONDS WHAT COMMAND...
    seconds=$1 what=$2
    shift 2
    end=$(($(cut -d. -f1 /proc/uptime) + seconds))
    while [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ]; do
        if "$@" >/dev/null 2>&1; then step "$what"; return; fi
        sleep 0.5
    done
    fail "$what"
}

# What systemd would have done.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroups /sys/fs/cgroup
mount -o remount,rw /
mount --make-rshared /
hostname box
ip link set lo up
modprobe -a virtio_net loop nfsd quota_v2
ip link set eth0 up
ip addr add 192.0.2.10/24 dev eth0

# The file server. Its grace after a start, in which nobody gets a lock that was not his, is 90 s elsewhere and 10 s at least.
mkdir -p /run/rpcbind /run/rpc_pipefs /run/sendsigs.omit.d /run/edgek /srv/share /srv/one /srv/two /srv/doomed
chmod 777 /srv/share /srv/one /srv/two
mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs pipes /run/rpc_pipefs
rpcbind -w
nfsdcld
echo '/srv *(rw,no_root_squash,insecure,no_subtree_check)' >/etc/exports
exportfs -ra
rpc.mountd
serve_files() { rpc.nfsd --grace-time 10 --lease-time 10 4; }
serve_files || fail 'no file server'
step 'a file server'

sanity() { # SHARE ARGUMENT: one half of the judge
    python3 -m edgek csi serve --driver nfs --endpoint "unix:///run/$1.sock" --node-id box --server 127.0.0.1 --share "/srv/$1" &
    csi-sanity "--csi.endpoint=unix:///run/$1.sock" "--csi.mountdir=/tmp/mount-$1" "--csi.stagingdir=/tmp/stage-$1" --ginkgo.no-color \
        --csi.testvolumesize=1048576 --csi.testvolumeexpandsize=2097152 "$2" >"/tmp/$1.log" 2>&1
    echo $? >"/tmp/$1.code"
    kill $!
    wait $!
}
judged() {
    grep -q '| 0 Failed |' "/tmp/$1.log" && test "$(cat "/tmp/$1.code")" = 0 && test -z "$(find "/srv/$1" -mindepth 2 -name '*.json')" \
        && ! grep -E "/tmp/(mount|stage)-$1" /proc/mounts || {
        grep -A 20 '\[FAILED\]' "/tmp/$1.log" | head -n 80
        tail -n 5 "/tmp/$1.log"
        fail "csi-sanity, $1"
    }
    step "csi-sanity: $(grep -E '^Ran ' "/tmp/$1.log"), $(grep -o '[0-9]* Passed | 0 Failed' "/tmp/$1.log")"
}
sanity one '--ginkgo.skip=Node Service|ListSnapshots' &
first=$!
sanity two '--ginkgo.focus=Node Service|ListSnapshots' &
second=$!
mkdir -p /var/lib/edgek/agent/images
cp /images/*.tar /var/lib/edgek/agent/images/
python3 -m edgek server --node-name box --node-ip 192.0.2.10 --bind-address 192.0.2.10 >/var/log/edgek.log 2>&1 &
node_ready() { test "$(kubectl get node box -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True; }
phase() { test "$(kubectl get pod "$1" -o 'jsonpath={.status.phase}')" = "$2"; }
gone() { test -z "$(kubectl get pod "$1" -o name --ignore-not-found)"; }
growing() { # a file on the server's own disk
    before=$(wc -l <"$1")
    sleep 2
    test "$(wc -l <"$1")" -gt "$before"
}
whole() { test "$(head -n 100 "$1")" = "$(seq 100)" && test "$(cat "$1")" = "$(seq "$(wc -l <"$1")")"; }
says() { kubectl get events --field-selector "involvedObject.name=$1,reason=$2" -o 'jsonpath={.items[*].message}' | grep -q "$3"; }
shared=/srv/share/default/shared # where the claim's volume lies on the server's own disk

python3 /machine_storage.py quota || fail quota
step 'quota'
until_true 240 'the node is ready' node_ready
kubectl apply -f /pods.json || fail pods
for what in versions copies keep; do
    python3 /machine_storage.py $what || fail "$what"
    step "$what"
done
until_true 90 'two pods share a ReadWriteMany claim' sh -c "grep -q 3 $shared/one && grep -q 3 $shared/two"
kubectl get pvc shared -o 'jsonpath={.status.phase} {.status.accessModes}' | grep -q '^Bound \["ReadWriteMany"\]' || fail 'the claim is not as it was asked for'
kubectl exec one -- grep ' /files nfs4 .*vers=4.2' /proc/mounts || fail 'a pod has no NFS'
kubectl exec one -- sh -c 'head -n 3 /files/two' | grep -q 3 || fail 'one pod does not read what the other wrote'
until_true 60 'a pod reads' phase reader Running
until_true 60 'a pod has an export that will be deleted' phase doomed Running
rm -r /srv/doomed
kubectl exec doomed -- ls /files 2>&1 | grep 'Stale file handle' || fail 'an export is deleted, and nobody is told'
kubectl delete pod doomed --wait=false
until_true 60 'a pod on a deleted export is deleted' gone doomed
kubectl delete pvc doomed --wait=false
undeleted() { kubectl get events --field-selector reason=VolumeFailedDelete -o 'jsonpath={.items[*].message}' | grep -q '127.0.0.1:/srv/doomed does not exist'; }
until_true 60 'a volume on a deleted export says why it stays' undeleted
mkdir /srv/doomed
wait $first
judged one
wait $second
judged two

rpc.nfsd 0
step 'the file server is down'
python3 /machine_storage.py dead &
given_up=$!
kubectl apply -f /late.json || fail late
until_true 60 'a pod without a volume starts' phase none Running
until_true 90 'a pod says why it waits' says late FailedMount 'MountVolume.SetUp failed for volume "files" : mount failed'
kubectl get events --field-selector 'involvedObject.name=late,reason=FailedMount' -o 'jsonpath={.items[0].message}'
until_true 90 'a claim says why it waits' says later ProvisioningFailed 'failed to provision volume with StorageClass "files"'
kubectl get events --field-selector 'involvedObject.name=later,reason=ProvisioningFailed' -o 'jsonpath={.items[0].message}'
kubectl delete pod reader --wait=false
until_true 60 'a pod on the dead server is deleted' gone reader
wait $given_up || fail dead
step 'calls are given up'
node_ready || fail 'the node is not ready'
phase late Pending || fail 'late is not pending'

serve_files
step 'the file server is up'
until_true 120 'the first writes on' growing $shared/one
until_true 60 'the second writes on' growing $shared/two
until_true 120 'the pod that waited runs' phase late Running
until_true 120 'the pod whose claim waited runs' phase later Running
python3 /machine_storage.py alive || fail alive
kubectl delete pod --all --grace-period=1 --wait=false
until_true 90 'all pods are gone' sh -c 'test -z "$(kubectl get pods -o name)"'
until_true 30 'nothing is mounted' sh -c '! grep :/srv /proc/mounts'
whole $shared/one || fail 'one: lines are missing, double or broken'
whole $shared/two || fail 'two: lines are missing, double or broken'
step "the data is whole: $(cat $shared/one $shared/two | wc -l) lines"
kubectl delete pvc shared later --wait=false
until_true 60 'the volumes are deleted' sh -c 'test -z "$(kubectl get pv -o name)" && test -z "$(find /srv/share/default -mindepth 1)"'

# A server that shares no code with the kernel's. It needs no port below 1024, where the kernel's clients have had many (its quotas would have one);
# what others leave only slowly it asks for again.
rpc.nfsd 0
pkill rpc.mountd
until_true 20 'nobody mounts for the former' sh -c '! pgrep -x rpc.mountd'
cat >/etc/ganesha/ganesha.conf <<'.'
NFS_CORE_PARAM { Protocols = 3, 4; Enable_RQUOTA = false; }
NFSV4 { Grace_Period = 1; Lease_Lifetime = 10; }
EXPORT { Export_Id = 1; Path = /srv/share; Pseudo = /srv/share; Access_Type = RW; Squash = None; SecType = sys; FSAL { Name = VFS; } }
.
mkdir -p /run/ganesha
while sleep 1; do ganesha.nfsd -F -f /etc/ganesha/ganesha.conf -L /var/log/ganesha.log -p /run/ganesha.pid; done &
until_true 60 'a file server in user space' grep -q 'NFS SERVER INITIALIZED' /var/log/ganesha.log
for what in versions copies; do
    python3 /machine_storage.py $what || fail "$what in user space"
    step "$what"
done
echo 'ALL DONE'
off
