"""A machine to install on that goes with the test, and what stands in for edgek there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
URL, TOKEN = "https://192.0.2.1:6443", "K10secret"

# An edgek that starts as it is told by /etc/edgek/scene: it shows what it was started with, and answers `edgek status`.
EDGEK = """#!/bin/sh
case $1 in
server | agent)
    run=${EDGEK_RUN_DIR:-/run/edgek}
    mkdir -p /var/lib/edgek/$1 $run
    echo $$ >$run/edgek.pid
    { printf 'ARGUMENTS %s\\n' "$*"; env | grep ^EDGEK_; } >/run/edgek-was-started
    case $(cat /etc/edgek/scene 2>/dev/null) in
    refused) echo 'ERROR cannot go on reason="the token is not this cluster'"'"'s"'; exit 2 ;;
    away) echo 'WARNING cannot join yet server=https://192.0.2.1:6443 error="no answer" retry_s=1.0' ;;
    esac
    [ $1 = server ] || touch /var/lib/edgek/agent/cluster.json
    exec sleep 600 ;;
--version) echo 'edgek VERSION' ;;
check) grep -q unfit /etc/edgek/scene 2>/dev/null && { echo '✗ no memory controller'; exit 1; }; exit 0 ;;
internal-tool) dirname "$0" | sed 's,$,/share,' ;;
status)
    if [ -e /var/lib/edgek/server ]; then
        [ -e /run/edgek-was-started ] || exit 1
        printf 'edgek v1, the API is healthy\n\nNODE  STATE  ADDRESS\nother  NotReady  -\n%s  Ready  -\n\n' "$(uname -n | tr A-Z a-z)"; exit 0
    fi
    if [ -e /var/lib/edgek/agent/cluster.json ] && ! grep -q away /etc/edgek/scene 2>/dev/null; then echo 'Node far of https://192.0.2.1:6443: it is Ready'; exit 0; fi
    echo 'This machine: it has not joined yet'; exit 1 ;;
esac
"""
PIP = """#!/bin/sh
printf '%s' "$FAKE_EDGEK" >/usr/local/lib/edgek/venv/bin/edgek && chmod +x /usr/local/lib/edgek/venv/bin/edgek
"""
SET_UP = """
for top in /usr/local /etc /var /run; do
    mkdir -p {folder}$top/upper {folder}$top/work
    mount -t overlay overlay -o lowerdir=$top,upperdir={folder}$top/upper,workdir={folder}$top/work $top || exit 1
done
mount -t tmpfs tmpfs /sys/fs/cgroup
rm -rf /run/systemd/system # nobody to start services here, whatever this machine has
mkdir -p /etc/edgek
touch /run/box-is-there
sleep 10000 # as a child: the shell is the first process here, and reaps
exit
"""


class Box:
    """This machine, seen from a place where nothing that is written stays."""

    def __init__(self, folder: Path) -> None:
        script = f"mount -t tmpfs tmpfs {folder} && {SET_UP.format(folder=folder)}"
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
        self.process = subprocess.Popen(argv)
        self._until_there()

    def _until_there(self) -> None:
        """The keeper of the namespaces is the child of ``unshare``."""
        for _ in range(6000):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.keeper = children[0] if children else ""
            if self.keeper and Path(f"/proc/{self.keeper}/root/run/box-is-there").exists():
                return
            assert self.process.poll() is None, "the namespaces could not be made"
            subprocess.run(["sleep", "0.01"], check=True)
        raise AssertionError("the namespaces were not made in time")

    def run(self, command: str, *, code: int = 0, **variables: str) -> str:
        """What it prints, on both channels."""
        environment = {**os.environ, "FAKE_EDGEK": EDGEK, "EDGEK_READY_TIMEOUT": "20", **variables}
        argv = ["nsenter", "--net", "--mount", "--pid", "--target", self.keeper, "sh", "-c", command]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=180, cwd="/")
        assert done.returncode == code, done.stdout
        return done.stdout

    def install(self, arguments: str = "", *, code: int = 0, **variables: str) -> str:
        """With an environment that needs no network."""
        place = "/usr/local/lib/edgek/venv/bin"
        self.run(f'mkdir -p {place} /etc/edgek; printf %s "$FAKE_PIP" >{place}/pip; chmod +x {place}/pip', FAKE_PIP=PIP)
        return self.run(f"{REPOSITORY}/packaging/install.sh {arguments}", code=code, **variables)

    def started(self) -> list[str]:
        return self.run("cat /run/edgek-was-started").splitlines()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
