"""What drivers say of volumes, in the words of the summary and of Prometheus."""

from __future__ import annotations

from edgek.agent.kubelet.volume_stats import VolumeUse, metrics, shown

POD = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "i", "csi": {}},
        ]
    },
}
SAID = {
    "usage": [{"unit": 1, "total": 1000, "used": 400, "available": 600}, {"unit": 2, "total": 100, "used": 3, "available": 97}],
    "volume_condition": {"abnormal": True, "message": "sick"},
}


def test_the_summary_names_the_claim_and_its_health() -> None:
    assert shown(VolumeUse(POD, "v", SAID), "now") == {
        "time": "now",
        "availableBytes": 600,
        "capacityBytes": 1000,
        "usedBytes": 400,
        "inodesFree": 97,
        "inodes": 100,
        "inodesUsed": 3,
        "name": "v",
        "pvcRef": {"name": "c", "namespace": "shop"},
        "volumeHealthStats": {"abnormal": True},
    }


def test_metrics_are_of_claims_each_once() -> None:
    small = {"usage": SAID["usage"][:1]}
    text = metrics([VolumeUse(POD, "v", SAID), VolumeUse(POD, "v", SAID), VolumeUse(POD, "e", small), VolumeUse(POD, "i", SAID)])
    assert text.splitlines()[:3] == [
        "# TYPE kubelet_volume_stats_available_bytes gauge",
        'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="c"} 600',
        'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="web-e"} 600',
    ]
    assert 'kubelet_volume_stats_inodes_used{namespace="shop",persistentvolumeclaim="c"} 3' in text
    assert text.count("inodes_used") == 2
    assert metrics([]) == ""
