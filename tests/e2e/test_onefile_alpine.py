"""The one file on a root as Alpine's, of busybox and musl: it brings its own C library, and is a node that runs pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.alpine import ADDRESS, AlpineLike

pytestmark = pytest.mark.onefile

IMAGE = "docker.io/library/nginx:1.27"


def test_busybox_and_musl_are_enough_for_a_node(built: Path, tmp_path: Path) -> None:
    alpine = AlpineLike(tmp_path, built / "dist", pods=True)
    group = f"/alpine-{tmp_path.parent.name}"
    try:
        alpine.run("rm /sbin/openrc-run; test ! -e /lib64")  # Debian's OpenRC wants a glibc
        flags = f"--node-name box --node-ip {ADDRESS} --cgroup-root {group}"
        said = alpine.run(f"sh /opt/dist/install.sh {flags}", INSTALL_EDGEK_SKIP_SIGNATURE="1", EDGEK_READY_TIMEOUT="60")
        assert "box is Ready" in said
        assert "/lib-c/ld-linux" in alpine.run("readlink /proc/$(cat /run/edgek/edgek.pid)/exe"), "by the C library that came along"
        alpine.run(f"kubectl create deployment web --image={IMAGE} && kubectl wait --for=condition=Available deployment/web --timeout=60s")
        assert alpine.run("wget -qO - http://$(kubectl get pods -l app=web -o 'jsonpath={.items[0].status.podIP}')/") == "one\n"
        routes = alpine.run("ip route | grep eth0")
        alpine.run("edgek-uninstall")
        left = "ls -d /usr/local/bin/* /usr/local/lib/edgek /etc/edgek /var/lib/edgek /var/lib/kubelet /run/edgek /var/log/pods 2>/dev/null; true"
        assert alpine.run(left) == ""
        assert alpine.run("ip route | grep eth0") == routes
        assert alpine.run(f"find /sys/fs/cgroup -path '*{group}*' -type d") == ""
    finally:
        alpine.close()
