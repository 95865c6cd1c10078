"""What a volume asks of its driver, in upstream's mapping."""

from __future__ import annotations

import pytest

from edgek.agent.kubelet.csi.source import Source, capability, group_is_ours_to_give, lifecycle_problem, of_inline, of_volume
from edgek.csi import messages


@pytest.mark.parametrize(
    ("mode", "multi_writer", "number"),
    [
        ("ReadWriteOnce", False, messages.SINGLE_NODE_WRITER),
        ("ReadWriteOnce", True, messages.SINGLE_NODE_MULTI_WRITER),
        ("ReadWriteOncePod", False, messages.SINGLE_NODE_WRITER),
        ("ReadWriteOncePod", True, messages.SINGLE_NODE_SINGLE_WRITER),
        ("ReadOnlyMany", True, messages.MULTI_NODE_READER_ONLY),
        ("ReadWriteMany", False, messages.MULTI_NODE_MULTI_WRITER),
    ],
)
def test_access_modes(mode: str, multi_writer: bool, number: int) -> None:
    assert capability(Source("d", "h", "pv", mode=mode), multi_writer=multi_writer)["access_mode"] == {"mode": number}


ONCE = ("ReadWriteOnce",)


@pytest.mark.parametrize(
    ("source", "policy", "ours"),
    [
        (Source("d", "h", "pv", modes=ONCE, fs_type="ext4"), "ReadWriteOnceWithFSType", True),
        (Source("d", "h", "pv", modes=ONCE), "ReadWriteOnceWithFSType", False),
        (Source("d", "h", "pv", modes=("ReadWriteMany",), fs_type="ext4"), "ReadWriteOnceWithFSType", False),
        (Source("d", "h", "v", inline=True, fs_type="ext4"), "ReadWriteOnceWithFSType", True),
        (Source("d", "h", "pv", modes=("ReadWriteMany",)), "File", True),
        (Source("d", "h", "pv", modes=ONCE, fs_type="ext4"), "None", False),
        (Source("d", "h", "pv", modes=ONCE, read_only=True), "File", False),
        (Source("d", "h", "pv", modes=ONCE, block=True), "File", False),
    ],
    ids=["once, with a type", "no type", "for many", "inline", "always", "never", "read-only", "a device"],
)
def test_whose_files_become_the_groups(source: Source, policy: str, ours: bool) -> None:
    assert group_is_ours_to_give(source, policy) is ours


def test_a_persistent_volume_is_read_with_all_it_says() -> None:
    ref = {"name": "s", "namespace": "n"}
    csi = {"driver": "d", "volumeHandle": "h", "fsType": "xfs", "nodeStageSecretRef": ref, "nodeExpandSecretRef": ref}
    spec = {"csi": csi, "accessModes": ["ReadWriteMany"], "volumeMode": "Block", "mountOptions": ["x"], "capacity": {"storage": "1Gi"}}
    found = of_volume({"metadata": {"name": "pv"}, "spec": spec}, read_only=True)
    assert (found.driver, found.handle, found.name, found.fs_type, found.mode, found.block, found.read_only) == (
        "d", "h", "pv", "xfs", "ReadWriteMany", True, True,
    )  # fmt: skip
    assert found.stage_secret == found.expand_secret
    assert found.stage_secret is not None
    assert (found.stage_secret.namespace, found.publish_secret, found.capacity) == ("n", None, "1Gi")


def test_an_inline_volume_takes_its_secret_from_the_pods_namespace() -> None:
    pod = {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}}
    found = of_inline(pod, {"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}})
    assert found.publish_secret is not None
    assert (found.publish_secret.namespace, found.publish_secret.name) == ("shop", "s")


def test_a_driver_that_says_nothing_has_persistent_volumes_only() -> None:
    assert lifecycle_problem(Source("d", "h", "pv"), ()) == ""
    assert 'only supports ["Persistent"]' in lifecycle_problem(Source("d", "h", "v", inline=True), ())
    assert lifecycle_problem(Source("d", "h", "v", inline=True), ("Persistent", "Ephemeral")) == ""
    assert lifecycle_problem(Source("d", "h", "pv"), None) == ""
    assert lifecycle_problem(Source("d", "h", "v", inline=True), None) == 'volume mode "Ephemeral" not supported by driver d (no CSIDriver object)'
