"""What a node is to do for the volumes that it keeps, read from their objects."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.agent.local_storage import Order, capability, order, pointer, words
from edgek.host.rpc import RpcError
from edgek.model.local_storage import FINALIZER, FORMER_FINALIZER, GROW, IN_USE_FINALIZER, MAKE, TROUBLE

MAKING = '{"parameters": {}, "source": ""}'


def volume(*finalizers: str, deleting: bool = True, policy: str = "Delete", **marks: str) -> dict[str, Any]:
    stamp = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    csi = {"driver": "hostpath.edgek.io", "volumeHandle": "pvc-1"}
    spec = {"csi": csi, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": policy}
    return {"metadata": {"name": "pvc-1", "finalizers": list(finalizers), "annotations": marks, **stamp}, "spec": spec}


def former(**members: Any) -> dict[str, Any]:
    made = volume(FORMER_FINALIZER, **members)
    del made["spec"]["csi"]
    made["spec"]["hostPath"] = {"path": "/srv/storage/pvc-1_default_data"}
    return made


def test_a_deleted_volume_that_only_we_hold_goes():
    assert order(volume("other", FINALIZER)) == Order("delete", "pvc-1", FINALIZER, "hostpath.edgek.io", "pvc-1", place=1)
    assert order(former()) == Order("delete former", "pvc-1", FORMER_FINALIZER, path="/srv/storage/pvc-1_default_data")


@pytest.mark.parametrize("kept", [volume(FINALIZER, policy="Retain"), former(policy="Retain")], ids=["of a driver", "of before"])
def test_what_is_to_be_retained_is_let_go_as_it_is(kept):
    found = order(kept)
    assert found is not None
    assert found.work == "let go"


def test_a_volume_that_was_never_made_has_nothing_to_retain():
    found = order(volume(FINALIZER, policy="Retain", **{MAKE: MAKING}))
    assert found is not None
    assert found.work == "delete"


@pytest.mark.parametrize(
    "kept",
    [volume(FINALIZER, deleting=False), volume(IN_USE_FINALIZER, FINALIZER), volume("other"), volume(IN_USE_FINALIZER, FINALIZER, **{MAKE: MAKING})],
    ids=["a volume that is wanted", "one that a claim still uses", "one that is not ours any more", "one that need not be made"],
)
def test_it_stays(kept):
    assert order(kept) is None


def test_a_volume_is_made_before_it_grows():
    found = order(volume(FINALIZER, deleting=False, **{MAKE: MAKING, GROW: "2Gi"}))
    assert found is not None
    assert (found.work, found.size) == ("make", "1Gi")
    found = order(volume(FINALIZER, deleting=False, **{GROW: "2Gi"}))
    assert found is not None
    assert (found.work, found.size) == ("grow", "2Gi")


def test_a_volume_whose_object_is_deleted_grows_as_long_as_a_claim_has_it():
    found = order(volume(IN_USE_FINALIZER, FINALIZER, **{GROW: "2Gi"}))
    assert found is not None
    assert found.work == "grow"


def test_other_words_for_the_same_trouble_are_no_new_work():
    first, second = (order(volume(FINALIZER, deleting=False, **{MAKE: MAKING, TROUBLE: text})) for text in ("5 bytes are free", "6 bytes are free"))
    assert first == second


def test_capabilities_are_numbers_of_the_specification():
    made = Order("make", "pvc-1", MAKING, options=("noatime",), fs_type="ext4")
    assert capability(made, "ReadWriteOncePod") == {"mount": {"fs_type": "ext4", "mount_flags": ["noatime"]}, "access_mode": {"mode": 6}}
    with pytest.raises(ValueError, match="no access mode"):
        capability(made, "WriteOnly")


def test_a_refusal_is_told_in_upstreams_words():
    assert words(RpcError("RESOURCE_EXHAUSTED", "no room")) == "rpc error: code = ResourceExhausted desc = no room"
    assert words(ValueError("strange")) == "strange"


def test_annotations_are_pointed_at_by_their_escaped_names():
    assert pointer("edgek.io/make") == "/metadata/annotations/edgek.io~1make"
