"""What a pod is called inside, and whom it asks for names: hostname, /etc/hosts, resolv.conf. Pure, but for what reads the node's own files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from edgek.agent.kubelet.lifecycle import is_host_network
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.model import objects
from edgek.model.objects import Object

HOSTNAME_MOST = 63
NAMESERVERS_MOST = 3
SEARCHES_MOST = 32
FIXED_HOSTS = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


@attrs.frozen
class Resolver:
    """A resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            searches = tuple(name.rstrip(".") or "." for name in rest)
        elif word == "options":
            options = tuple(rest)
    return Resolver(tuple(servers), searches, options)


def resolver(pod: Object, host: Resolver, cluster_dns: Sequence[str], domain: str) -> Resolver:
    """By dnsPolicy, with dnsConfig added."""
    spec = pod.get("spec") or {}
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        base = Resolver()
    elif policy == "Default" or (policy == "ClusterFirst" and is_host_network(pod)) or not cluster_dns:
        base = host
    else:
        own = (f"{objects.namespace(pod)}.svc.{domain}", f"svc.{domain}", domain)
        base = Resolver(tuple(cluster_dns), _unique((*own, *host.searches)), ("ndots:5",))
    added = spec.get("dnsConfig") or {}
    options = dict(_option(text) for text in base.options)
    options.update({o["name"]: o.get("value") for o in added.get("options") or ()})
    return Resolver(
        _unique((*base.servers, *(added.get("nameservers") or ())))[:NAMESERVERS_MOST],
        _unique((*base.searches, *(added.get("searches") or ())))[:SEARCHES_MOST],
        tuple(name if value in (None, "") else f"{name}:{value}" for name, value in options.items()),
    )


def for_pod(settings: KubeletSettings, pod: Object) -> Resolver:
    """With the node's resolvers as they are now."""
    return resolver(pod, parse_resolv_conf(read(settings.resolv_conf)), settings.cluster_dns, settings.cluster_domain)


def read(file: Path) -> str:
    """Empty where there is none."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _option(text: str) -> tuple[str, str | None]:
    name, colon, value = text.partition(":")
    return name, value if colon else None


def _unique(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def hostname(pod: Object, domain: str) -> tuple[str, str]:
    """Short name and fully qualified name (empty where there is no subdomain)."""
    spec = pod.get("spec") or {}
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"]), ""
    short = str(spec.get("hostname") or objects.name(pod))[:HOSTNAME_MOST].rstrip("-.")
    subdomain = spec.get("subdomain")
    return short, f"{short}.{subdomain}.{objects.namespace(pod)}.svc.{domain}" if subdomain else ""


def inner_hostname(pod: Object, domain: str) -> str:
    """What ``hostname`` prints in the pod."""
    short, full = hostname(pod, domain)
    return full if full and (pod.get("spec") or {}).get("setHostnameAsFQDN") else short


def hosts_file(pod: Object, pod_ips: Sequence[str], domain: str, host_file: str) -> str:
    """``host_file`` is the node's own /etc/hosts, for pods in its network."""
    if is_host_network(pod):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        short, full = hostname(pod, domain)
        names = f"{full}\t{short}" if full else short
        text = "\n".join(("# Kubernetes-managed hosts file.", *FIXED_HOSTS, *(f"{ip}\t{names}" for ip in pod_ips), ""))
    aliases = (pod.get("spec") or {}).get("hostAliases") or ()
    if not aliases:
        return text
    lines = [f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) for alias in aliases]
    return "\n".join((text.rstrip("\n") + "\n", "# Entries added by HostAliases.", *lines, ""))
