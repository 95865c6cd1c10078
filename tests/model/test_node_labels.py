"""Which labels a node may give itself."""

from __future__ import annotations

import pytest

from edgek.model import node_labels


@pytest.mark.parametrize(
    ("key", "may"),
    [
        ("rack", True),
        ("example.com/rack", True),
        ("topology.kubernetes.io/zone", True),
        ("node.kubernetes.io/anything", True),
        ("deep.kubelet.kubernetes.io/anything", True),
        ("node-role.kubernetes.io/worker", False),
        ("kubernetes.io/anything", False),
        ("a.k8s.io/b", False),
        ("notkubernetes.io/b", True),
    ],
)
def test_kubernetes_own_domains_are_for_administrators_but_for_some(key: str, may: bool) -> None:
    assert node_labels.is_a_nodes_own(key) is may
