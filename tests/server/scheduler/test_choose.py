"""Which node a pod gets, and what it is told when it gets none."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from edgek.server.scheduler import views
from edgek.server.scheduler.choose import Placed, Refused, choose
from edgek.server.scheduler.snapshot import Snapshot

CACHED = "docker.io/library/nginx:1.27"


def node(name: str, *, cpu: str = "2", memory: str = "2Gi", pods: str = "110", labels=None, taints=(), **more: Any) -> views.Node:
    status = {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}, "images": more.pop("images", [])}
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
    return views.node({"metadata": meta, "spec": {"taints": list(taints), **more}, "status": status})


def pod(
    name: str = "p", *, cpu: str = "", memory: str = "", labels=None, owner: str = "", host_port: int = 0, container=None, **spec: Any
) -> views.Pod:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    ports = [{"containerPort": 80, "hostPort": host_port}] if host_port else []
    one = {"name": "c", "image": "nginx:1.27", "resources": {"requests": requests}, "ports": ports, **(container or {})}
    meta: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels or {}}
    if owner:
        meta["ownerReferences"] = [{"controller": True, "uid": owner}]
    return views.pod({"metadata": meta, "spec": {"containers": [one], **spec}})


def cluster(*nodes: views.Node, on: dict[str, list[views.Pod]] | None = None, **caches: Any) -> Snapshot:
    snapshot = Snapshot(**caches)
    for one in nodes:
        snapshot.set_node(one)
    for name, pods in (on or {}).items():
        for each in pods:
            snapshot.place(each, name)
    return snapshot


NO_SCHEDULE = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]
        }
    }
}
AWAY = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}]
    }
}

NONSENSE = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["six"]}]}]
        }
    }
}

REFUSALS = {
    "a pod whose affinity the API takes and nothing can fulfil": (
        pod(affinity=NONSENSE),
        [node("a")],
        {},
        "1 node(s) didn't match Pod's node affinity/selector",
    ),
    "a pod that asks for more CPU than there is": (pod(cpu="3"), [node("a")], {}, "1 Insufficient cpu"),
    "what runs already counts": (pod(cpu="1500m"), [node("a")], {"a": [pod("other", cpu="1")]}, "1 Insufficient cpu"),
    "several lacks are counted apart": (pod(cpu="3", memory="4Gi"), [node("a")], {}, "1 Insufficient cpu, 1 Insufficient memory"),
    "a node has room for so many pods": (pod(), [node("a", pods="1")], {"a": [pod("other")]}, "1 Too many pods"),
    "a cordoned node takes nobody": (pod(), [node("a", unschedulable=True)], {}, "1 node(s) were unschedulable"),
    "a taint that nobody tolerates": (pod(), [node("a", taints=[NO_SCHEDULE])], {}, "1 node(s) had untolerated taint {gpu: yes}"),
    "a node selector that matches nothing": (
        pod(nodeSelector={"disk": "ssd"}),
        [node("a")],
        {},
        "1 node(s) didn't match Pod's node affinity/selector",
    ),
    "a required affinity": (pod(affinity=AFFINITY), [node("a", labels={"zone": "a"})], {}, "1 node(s) didn't match Pod's node affinity/selector"),
    "a host port that is taken": (
        pod(host_port=80),
        [node("a")],
        {"a": [pod("other", host_port=80)]},
        "1 node(s) didn't have free ports for the requested pod ports",
    ),
    "a neighbour to stay away from": (
        pod(affinity=AWAY),
        [node("a")],
        {"a": [pod("other", labels={"app": "db"})]},
        "1 node(s) didn't match pod anti-affinity rules",
    ),
    "a neighbour that wants to be alone": (
        pod(labels={"app": "db"}),
        [node("a")],
        {"a": [pod("other", affinity=AWAY)]},
        "1 node(s) didn't satisfy existing pods anti-affinity rules",
    ),
}


@pytest.mark.parametrize(("wanted", "nodes", "on", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_pod_that_fits_nowhere_is_told_why(wanted, nodes, on, reason):
    assert choose(wanted, cluster(*nodes, on=on)).message == f"0/{len(nodes)} nodes are available: {reason}."


def test_a_neighbour_keeps_others_off_as_long_as_it_is_there():
    alone, wanted = pod("alone", affinity=AWAY), pod("db", labels={"app": "db"})
    snapshot = cluster(node("a"), on={"a": [alone], "not-seen-yet": [pod("elsewhere", affinity=AWAY)]})
    assert isinstance(choose(wanted, snapshot), Refused)
    snapshot.place(alone, "a")  # a newer view of it
    assert isinstance(choose(wanted, snapshot), Refused)
    snapshot.remove(alone.uid)
    assert choose(wanted, snapshot) == Placed("a")


def test_pods_that_say_nothing_weigh_as_long_as_they_are_there():
    quiet = [pod(f"quiet-{number}") for number in range(3)]
    snapshot = cluster(node("a"), node("b"), on={"a": quiet, "b": [pod("asks", cpu="200m", memory="400Mi")]})
    assert choose(pod(), snapshot) == Placed("b")
    for each in quiet:
        snapshot.remove(each.uid)
    assert choose(pod(), snapshot) == Placed("a")


def test_room_that_is_promised_is_for_the_pod_itself_and_for_more_important_ones():
    snapshot = cluster(node("a", cpu="2"), on={"a": [pod("other", cpu="1")]})
    snapshot.promise(pod("awaited", cpu="1", priority=5), "a")
    assert choose(pod("awaited", cpu="1", priority=5), snapshot) == Placed("a")
    assert choose(pod("urgent", cpu="1", priority=6), snapshot) == Placed("a")
    for priority in (4, 5):
        refused = choose(pod(cpu="1", priority=priority), snapshot)
        assert refused == Refused("0/1 nodes are available: 1 Insufficient cpu.", frozenset({"NodeResourcesFit"}))
    assert snapshot.release("uid-awaited") == "a"
    assert choose(pod(cpu="1"), snapshot) == Placed("a")


def test_without_nodes_that_is_the_reason():
    assert choose(pod(), cluster()) == Refused("no nodes available to schedule pods", frozenset())


def test_the_reasons_of_several_nodes_are_counted():
    nodes = [node("a"), node("b"), node("c", unschedulable=True)]
    found = choose(pod(cpu="3"), cluster(*nodes))
    assert found.message == "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    assert found.rules == {"NodeResourcesFit", "NodeUnschedulable"}


CHOICES = {
    "the emptier node": (pod(cpu="100m"), [node("a"), node("b")], {"a": [pod("other", cpu="1", memory="1Gi")]}, "b"),
    "a node without its sibling": (pod(owner="rs"), [node("a"), node("b")], {"a": [pod("other", owner="rs")]}, "b"),
    "a node that has its image": (pod(), [node("a"), node("b", images=[{"names": [CACHED], "sizeBytes": 500 << 20}])], {}, "b"),
    "a node whose taint it tolerates": (pod(tolerations=[{"key": "gpu", "operator": "Exists"}]), [node("a", taints=[NO_SCHEDULE])], {}, "a"),
    "a node by its affinity": (pod(affinity=AFFINITY), [node("a", labels={"zone": "a"}), node("b", labels={"zone": "b"})], {}, "b"),
    "another address of the same host port": (
        pod(container={"ports": [{"hostPort": 80, "hostIP": "10.0.0.1"}]}),
        [node("a")],
        {"a": [pod("other", container={"ports": [{"hostPort": 80, "hostIP": "10.0.0.2"}]})]},
        "a",
    ),
    "a cordoned node for a pod that tolerates it": (pod(tolerations=[{"operator": "Exists"}]), [node("a", unschedulable=True)], {}, "a"),
    "the first by name where all is equal": (pod(), [node("b"), node("a")], {}, "a"),
}


@pytest.mark.parametrize(("wanted", "nodes", "on", "best"), CHOICES.values(), ids=CHOICES.keys())
def test_a_pod_gets(wanted, nodes, on, best):
    assert choose(wanted, cluster(*nodes, on=on)) == Placed(best)


def test_an_init_container_counts_where_it_is_the_larger():
    init = {"name": "i", "resources": {"requests": {"cpu": "3"}}}
    assert isinstance(choose(pod(cpu="1", initContainers=[init]), cluster(node("a"))), Refused)
    assert choose(pod(cpu="1", initContainers=[init]), cluster(node("a", cpu="4"))) == Placed("a")


def test_a_sidecar_runs_beside_the_containers():
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1500m"}}}
    assert isinstance(choose(pod(cpu="1", initContainers=[sidecar]), cluster(node("a"))), Refused)


class TestVolumes:
    claim = {"metadata": {"namespace": "default", "name": "data"}, "spec": {"storageClassName": "local-path"}}
    pod = pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
    waiting = {"local-path": views.StorageClass("local-path", waits=True)}

    def volume(self, host: str) -> views.Volume:
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}
        return views.volume({"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}})

    def bound(self) -> views.Claim:
        return views.claim({**self.claim, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}})

    def test_a_bound_claim_ties_the_pod_to_its_volumes_node(self):
        caches = {"claims": {"default/data": self.bound()}, "volumes": {"pv": self.volume("b")}}
        assert choose(self.pod, cluster(node("a"), node("b"), **caches)) == Placed("b")
        refused = choose(self.pod, cluster(node("a"), **caches))
        assert refused.message == "0/1 nodes are available: 1 node(s) had volume node affinity conflict."

    def test_a_claim_of_a_waiting_class_goes_anywhere_until_a_node_was_chosen(self):
        assert choose(self.pod, cluster(node("a"), claims={"default/data": views.claim(self.claim)}, classes=self.waiting)) == Placed("a")
        chosen = {**self.claim, "metadata": {**self.claim["metadata"], "annotations": {views.SELECTED_NODE: "b"}}}
        caches = {"claims": {"default/data": views.claim(chosen)}, "classes": self.waiting}
        assert choose(self.pod, cluster(node("a"), node("b"), **caches)) == Placed("b")

    def test_a_class_that_makes_volumes_in_some_places_draws_its_pods_there(self):
        allowed = ({"matchLabelExpressions": [{"key": "zone", "values": ["2"]}]},)
        classes = {"local-path": views.StorageClass("local-path", waits=True, topologies=allowed)}
        caches = {"claims": {"default/data": views.claim(self.claim)}, "classes": classes}
        assert choose(self.pod, cluster(node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}), **caches)) == Placed("b")
        refused = choose(self.pod, cluster(node("a", labels={"zone": "1"}), **caches))
        assert refused.message == "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind."

    def test_a_volume_that_is_held_for_a_claim_counts_while_it_can_be_had(self):
        asked = {**self.claim, "spec": {**self.claim["spec"], "resources": {"requests": {"storage": "2Gi"}}}}
        held = {"namespace": "default", "name": "data"}

        def chosen(size: str, phase: str, claim: dict[str, str] = held) -> Placed | Refused:
            spec = {"claimRef": claim, "capacity": {"storage": size}}
            volume = views.volume({"metadata": {"name": "pv"}, "spec": spec, "status": {"phase": phase}})
            classes = {"local-path": views.StorageClass("local-path", waits=True, provisions=False)}
            return choose(self.pod, cluster(node("a"), claims={"default/data": views.claim(asked)}, volumes={"pv": volume}, classes=classes))

        assert chosen("2Gi", "Available") == Placed("a")
        for other in (chosen("1Gi", "Available"), chosen("2Gi", "Released"), chosen("2Gi", "Available", {**held, "name": "other"})):
            assert isinstance(other, Refused)
            assert other.message == "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind."

    def test_a_claim_goes_where_its_driver_says_that_there_is_room(self):
        asked = {**self.claim, "spec": {**self.claim["spec"], "resources": {"requests": {"storage": "10Gi"}}}}

        def capacity(host: str, **said: Any) -> views.Capacity:
            return views.capacity({"storageClassName": "local-path", "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": host}}, **said})

        told = [
            capacity("a", capacity="9Gi"),
            capacity("b", capacity="1Ti", maximumVolumeSize="9Gi"),
            capacity("c", capacity="10Gi", storageClassName="other"),
            capacity("d"),  # room is not known: upstream takes that for none
            views.capacity({"storageClassName": "local-path", "capacity": "1Ti"}),  # reached from nowhere
        ]
        classes = {"local-path": views.StorageClass("local-path", waits=True, driver="disks.example")}
        caches = {"claims": {"default/data": views.claim(asked)}, "classes": classes}
        nodes = [node(name) for name in "abcd"]
        short = {str(number): each for number, each in enumerate(told)}
        refused = choose(self.pod, cluster(*nodes, tracked={"disks.example": True}, capacities=short, **caches))
        assert refused.message == "0/4 nodes are available: 4 node(s) did not have enough free storage."
        enough = {**short, "enough": capacity("d", capacity="10Gi")}
        assert choose(self.pod, cluster(*nodes, tracked={"disks.example": True}, capacities=enough, **caches)) == Placed("d")
        assert choose(self.pod, cluster(*nodes, tracked={"disks.example": False}, capacities=short, **caches)) == Placed("a")

    def test_a_copy_of_a_directory_is_made_where_that_is(self):
        spec = {**self.claim["spec"], "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "origin"}}
        claims = {"default/data": views.claim({**self.claim, "spec": spec}), "default/origin": self.bound()}
        classes = {"local-path": views.StorageClass("local-path", waits=True, driver="hostpath.edgek.io")}
        caches = {"claims": claims, "volumes": {"pv": self.volume("b")}, "classes": classes}
        assert choose(self.pod, cluster(node("a"), node("b"), **caches)) == Placed("b")

    def test_a_node_has_only_so_many_volumes_of_a_driver(self):
        def disk(number: int) -> views.Volume:
            csi = {"driver": "disks.example", "volumeHandle": f"disk-{number}"}
            return views.volume({"metadata": {"name": f"pv-{number}"}, "spec": {"csi": csi}})

        def bound(number: int) -> views.Claim:
            return views.claim({"metadata": {"namespace": "default", "name": f"data-{number}"}, "spec": {"volumeName": f"pv-{number}"}})

        def user(name: str, number: int) -> views.Pod:
            return pod(name, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": f"data-{number}"}}])

        caches = {
            "claims": {f"default/data-{number}": bound(number) for number in (1, 2)},
            "volumes": {f"pv-{number}": disk(number) for number in (1, 2)},
            "most_volumes": {"a": {"disks.example": 1}},
        }
        full = cluster(node("a"), on={"a": [user("first", 1)]}, **caches)
        assert choose(user("second", 2), full).message == "0/1 nodes are available: 1 node(s) exceed max volume count."
        assert choose(user("sharing", 1), full) == Placed("a")
        assert choose(user("second", 2), cluster(node("a"), **caches)) == Placed("a")

    def test_a_claim_for_one_pod_keeps_the_second_waiting(self):
        only = views.claim({**self.claim, "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOncePod"]}})
        caches = {"claims": {"default/data": only}, "volumes": {"pv": self.volume("a")}}
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        refused = choose(pod("second", volumes=volumes), cluster(node("a"), on={"a": [self.pod]}, **caches))
        assert "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode" in refused.message
        assert choose(pod("second", volumes=volumes), cluster(node("a"), **caches)) == Placed("a")

    def test_an_unbound_claim_of_another_class_is_waited_for(self):
        refused = choose(self.pod, cluster(node("a"), claims={"default/data": views.claim(self.claim)}))
        assert refused.message == "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."

    def test_a_claim_that_is_not_there_is_named(self):
        assert choose(self.pod, cluster(node("a"))).message == '0/1 nodes are available: persistentvolumeclaim "data" not found.'

    def test_a_claim_that_is_made_for_the_pod_is_waited_for(self):
        wanted = pod("web", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}])
        why = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "web-scratch"'
        assert choose(wanted, cluster(node("a"))).message == f"0/1 nodes are available: {why}."


def test_spread_constraints_keep_domains_level():
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}
    wanted = pod(labels={"app": "web"}, topologySpreadConstraints=[constraint])
    nodes = [node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}, cpu="1")]
    assert choose(wanted, cluster(*nodes, on={"a": [pod("other", labels={"app": "web"})]})) == Placed("b")
    full = [nodes[0], node("b", labels={"zone": "2"}, unschedulable=True)]
    refused = choose(wanted, cluster(*full, on={"a": [pod("other", labels={"app": "web"})]}))
    assert "1 node(s) didn't match pod topology spread constraints" in refused.message


def test_the_first_pod_that_wants_to_be_near_its_like_is_let_in():
    near = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        }
    }
    assert choose(pod(labels={"app": "web"}, affinity=near), cluster(node("a"))) == Placed("a")
    assert choose(
        pod("q", labels={"app": "web"}, affinity=near), cluster(node("a"), node("b"), on={"b": [pod("other", labels={"app": "web"})]})
    ) == Placed("b")
    assert isinstance(choose(pod(affinity=near), cluster(node("a"))), Refused)


class TestNeighboursElsewhere:
    """Anti-affinity against pods of other namespaces; node ``a`` has one of those, and is the better one otherwise."""

    namespaces = {"shop": views.Namespace("shop", {"team": "red"}), "default": views.Namespace("default", {})}
    other = attrs.evolve(pod("other", labels={"app": "db"}), namespace="shop")

    def home(self, **term: Any) -> str:
        wish = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname", **term}
        away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [wish]}}
        nodes = node("a"), node("b", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
        found = choose(pod(labels={"app": "db"}, affinity=away), cluster(*nodes, on={"a": [self.other]}, namespaces=self.namespaces))
        assert isinstance(found, Placed)
        return found.node

    def test_without_a_word_only_its_own_namespace_counts(self):
        assert self.home() == "a"

    def test_a_namespace_may_be_named(self):
        assert self.home(namespaces=["shop"]) == "b"

    def test_or_selected_by_its_labels(self):
        assert self.home(namespaceSelector={"matchLabels": {"team": "red"}}) == "b"
        assert self.home(namespaceSelector={"matchLabels": {"team": "blue"}}) == "a"

    def test_an_empty_selector_means_all(self):
        assert self.home(namespaceSelector={}) == "b"

    def test_keys_stand_for_the_pods_own_labels(self):
        assert self.home(namespaceSelector={}, matchLabelKeys=["app"]) == "b"
        assert self.home(namespaceSelector={}, mismatchLabelKeys=["app"]) == "a"
