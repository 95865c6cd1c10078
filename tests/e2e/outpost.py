"""A node that joins a Cluster: a real ``edgek agent`` in a namespace of its own, with a cable to the server's."""

from __future__ import annotations

import os
import subprocess

from tests.e2e.cluster import REPOSITORY, START_S, Cluster, Failed, sh


class Outpost(Cluster):
    """``behind_nat``: nothing from outside may open a connection to it."""

    def __init__(self, server: Cluster, node_name: str, *flags: str, behind_nat: bool = False) -> None:
        self.server = server
        self.node_name = node_name
        self.behind_nat = behind_nat
        super().__init__(*flags)

    def _connect(self) -> None:
        number = self.inside_ip.split(".")[2]
        self.inside_ip, self.outside_ip = f"198.19.{number}.2", f"198.19.{number}.1"
        cable = f"to{self.name}"
        sh(f"ip netns add {self.name}")
        sh(f"ip -n {self.server.name} link del {cable} 2>/dev/null || true")  # of the life before a power cut
        sh(f"ip -n {self.server.name} link add {cable} type veth peer name eth0 netns {self.name}")
        sh(f"ip -n {self.server.name} addr add {self.outside_ip}/30 dev {cable}; ip -n {self.server.name} link set {cable} up")
        sh(f"ip -n {self.name} link set lo up; ip -n {self.name} addr add {self.inside_ip}/30 dev eth0; ip -n {self.name} link set eth0 up")
        sh(f"ip -n {self.name} route add {self.server.inside_ip} via {self.outside_ip}")
        if self.behind_nat:
            rule = "iifname eth0 meta l4proto tcp ct state new counter drop"
            chain = "{ type filter hook input priority -10; }"
            sh(f"nsenter --net=/run/netns/{self.name} nft 'add table ip nat_box; add chain ip nat_box in {chain}; add rule ip nat_box in {rule}'")

    def address_flags(self) -> list[str]:
        """How it is told by which address it is reached."""
        return ["--node-ip", self.inside_ip]

    def cut(self) -> None:
        """The cable is out."""
        sh(f"ip -n {self.server.name} link set to{self.name} down")

    def mend(self) -> None:
        sh(f"ip -n {self.server.name} link set to{self.name} up")
        sh(f"ip -n {self.name} route replace {self.server.inside_ip} via {self.outside_ip}")

    def start(self, *, ready: bool = True, token: str = "", joining: bool = True) -> None:
        """``joining``: with the server's address and a token (the server's own); a node that has joined needs neither."""
        token = token or (self.server.run("token", *self.server.paths()).strip() if joining else "")
        where = ["--join", f"https://{self.server.inside_ip}:6443", "--token", token] if joining else []
        argv = self.edgek("agent", *self.paths(), *where, *self.address_flags(), "--node-name", self.node_name, *self.flags)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, cwd=REPOSITORY, env={**os.environ, **self.environment}
            )
        if ready:
            self.until(self.is_ready, START_S, f"node {self.node_name} is Ready")

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise Failed(f"edgek agent ended with {self.process.returncode}:\n{self.log_end()}")
        path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.server.kubectl("get", "node", self.node_name, "-o", path, check=False) == "True"
