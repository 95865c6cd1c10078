"""Which labels a node may give itself: those of Kubernetes' own domains steer what is scheduled where, and are for administrators but for these."""

from __future__ import annotations

KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")


def is_a_nodes_own(key: str) -> bool:
    """Whether a node may give itself the label with this key."""
    domain, slash, _ = key.rpartition("/")
    if not slash or key in KUBELET_LABELS or _within(domain, KUBELET_DOMAINS):
        return True
    return not _within(domain, KUBERNETES_DOMAINS)


def _within(domain: str, domains: tuple[str, ...]) -> bool:
    return any(domain == each or domain.endswith("." + each) for each in domains)
