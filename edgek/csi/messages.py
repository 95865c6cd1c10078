"""The Container Storage Interface as tables: names and field numbers of csi.v1, and which method takes which message.

The drivers' services and the node's client share them. Field numbers are those of github.com/container-storage-interface/spec, version 1.12.
"""

from __future__ import annotations

from edgek.host.message import EMPTY, TIMESTAMP, Message, flag, labels, many, number, sub, text, texts
from edgek.host.rpc import Method

# VolumeCapability.AccessMode.Mode
SINGLE_NODE_WRITER, SINGLE_NODE_READER_ONLY, MULTI_NODE_READER_ONLY = 1, 2, 3
MULTI_NODE_SINGLE_WRITER, MULTI_NODE_MULTI_WRITER, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER = 4, 5, 6, 7
MODES = {
    SINGLE_NODE_WRITER: "SINGLE_NODE_WRITER",
    SINGLE_NODE_READER_ONLY: "SINGLE_NODE_READER_ONLY",
    MULTI_NODE_READER_ONLY: "MULTI_NODE_READER_ONLY",
    MULTI_NODE_SINGLE_WRITER: "MULTI_NODE_SINGLE_WRITER",
    MULTI_NODE_MULTI_WRITER: "MULTI_NODE_MULTI_WRITER",
    SINGLE_NODE_SINGLE_WRITER: "SINGLE_NODE_SINGLE_WRITER",
    SINGLE_NODE_MULTI_WRITER: "SINGLE_NODE_MULTI_WRITER",
}

# PluginCapability.Service.Type and PluginCapability.VolumeExpansion.Type
CONTROLLER_SERVICE, VOLUME_ACCESSIBILITY_CONSTRAINTS = 1, 2
EXPANSION_ONLINE = 1

# ControllerServiceCapability.RPC.Type
CAN_CREATE_DELETE_VOLUME, CAN_ATTACH, CAN_LIST_VOLUMES, CAN_GET_CAPACITY, CAN_CREATE_DELETE_SNAPSHOT, CAN_LIST_SNAPSHOTS, CAN_CLONE = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
)
CAN_EXPAND, CAN_GET_VOLUME, CAN_SINGLE_NODE_MULTI_WRITER, CAN_GET_SNAPSHOT = 9, 12, 13, 15

# NodeServiceCapability.RPC.Type
NODE_CAN_STAGE, NODE_CAN_STATS, NODE_CAN_EXPAND, NODE_CAN_CONDITION, NODE_CAN_SINGLE_NODE_MULTI_WRITER, NODE_CAN_MOUNT_GROUP = 1, 2, 3, 4, 5, 6

# VolumeUsage.Unit
BYTES, INODES = 1, 2

_TYPE = Message(type=number(1))
_PLUGIN_CAPABILITY = Message(service=sub(1, _TYPE), volume_expansion=sub(2, _TYPE))
_RPC_CAPABILITIES = Message(capabilities=many(1, Message(rpc=sub(1, _TYPE))))
_NUMBER = Message(value=number(1))

CAPABILITY = Message(
    block=sub(1, EMPTY),
    mount=sub(2, Message(fs_type=text(1), mount_flags=texts(2), volume_mount_group=text(3))),
    access_mode=sub(3, Message(mode=number(1))),
)
_RANGE = Message(required_bytes=number(1), limit_bytes=number(2))
_SOURCE = Message(snapshot=sub(1, Message(snapshot_id=text(1))), volume=sub(2, Message(volume_id=text(1))))
_TOPOLOGY = Message(segments=labels(1))
_VOLUME = Message(
    capacity_bytes=number(1), volume_id=text(2), volume_context=labels(3), content_source=sub(4, _SOURCE), accessible_topology=many(5, _TOPOLOGY)
)
_CONDITION = Message(abnormal=flag(1), message=text(2))
_VOLUME_STATUS = Message(published_node_ids=texts(1), volume_condition=sub(2, _CONDITION))
_SNAPSHOT = Message(
    size_bytes=number(1),
    snapshot_id=text(2),
    source_volume_id=text(3),
    creation_time=sub(4, TIMESTAMP),
    ready_to_use=flag(5),
    group_snapshot_id=text(6),
)
_OF_SNAPSHOT = Message(snapshot=sub(1, _SNAPSHOT))


def _identity(name: str, response: Message) -> Method:
    return Method(f"/csi.v1.Identity/{name}", EMPTY, response)


def _controller(name: str, request: Message, response: Message = EMPTY) -> Method:
    return Method(f"/csi.v1.Controller/{name}", request, response)


def _node(name: str, request: Message, response: Message = EMPTY) -> Method:
    return Method(f"/csi.v1.Node/{name}", request, response)


GET_PLUGIN_INFO = _identity("GetPluginInfo", Message(name=text(1), vendor_version=text(2), manifest=labels(3)))
GET_PLUGIN_CAPABILITIES = _identity("GetPluginCapabilities", Message(capabilities=many(1, _PLUGIN_CAPABILITY)))
PROBE = _identity("Probe", Message(ready=sub(1, Message(value=flag(1)))))

CREATE_VOLUME = _controller(
    "CreateVolume",
    Message(
        name=text(1), capacity_range=sub(2, _RANGE), volume_capabilities=many(3, CAPABILITY), parameters=labels(4), secrets=labels(5),
        volume_content_source=sub(6, _SOURCE), mutable_parameters=labels(8),
        accessibility_requirements=sub(7, Message(requisite=many(1, _TOPOLOGY), preferred=many(2, _TOPOLOGY))),
    ),
    Message(volume=sub(1, _VOLUME)),
)  # fmt: skip
DELETE_VOLUME = _controller("DeleteVolume", Message(volume_id=text(1), secrets=labels(2)))
CONTROLLER_PUBLISH_VOLUME = _controller(
    "ControllerPublishVolume",
    Message(volume_id=text(1), node_id=text(2), volume_capability=sub(3, CAPABILITY), readonly=flag(4), secrets=labels(5), volume_context=labels(6)),
    Message(publish_context=labels(1)),
)
CONTROLLER_UNPUBLISH_VOLUME = _controller("ControllerUnpublishVolume", Message(volume_id=text(1), node_id=text(2), secrets=labels(3)))
_CONFIRMED = Message(volume_context=labels(1), volume_capabilities=many(2, CAPABILITY), parameters=labels(3), mutable_parameters=labels(4))
VALIDATE_VOLUME_CAPABILITIES = _controller(
    "ValidateVolumeCapabilities",
    Message(
        volume_id=text(1), volume_context=labels(2), volume_capabilities=many(3, CAPABILITY), parameters=labels(4), secrets=labels(5),
        mutable_parameters=labels(6),
    ),
    Message(confirmed=sub(1, _CONFIRMED), message=text(2)),
)  # fmt: skip
_OF_VOLUME = Message(volume=sub(1, _VOLUME), status=sub(2, _VOLUME_STATUS))
LIST_VOLUMES = _controller(
    "ListVolumes", Message(max_entries=number(1), starting_token=text(2)), Message(entries=many(1, _OF_VOLUME), next_token=text(2))
)
CONTROLLER_GET_VOLUME = _controller("ControllerGetVolume", Message(volume_id=text(1)), _OF_VOLUME)
GET_CAPACITY = _controller(
    "GetCapacity",
    Message(volume_capabilities=many(1, CAPABILITY), parameters=labels(2), accessible_topology=sub(3, _TOPOLOGY)),
    Message(available_capacity=number(1), maximum_volume_size=sub(2, _NUMBER), minimum_volume_size=sub(3, _NUMBER)),
)
CONTROLLER_GET_CAPABILITIES = _controller("ControllerGetCapabilities", EMPTY, _RPC_CAPABILITIES)
CREATE_SNAPSHOT = _controller(
    "CreateSnapshot", Message(source_volume_id=text(1), name=text(2), secrets=labels(3), parameters=labels(4)), _OF_SNAPSHOT
)
DELETE_SNAPSHOT = _controller("DeleteSnapshot", Message(snapshot_id=text(1), secrets=labels(2)))
LIST_SNAPSHOTS = _controller(
    "ListSnapshots",
    Message(max_entries=number(1), starting_token=text(2), source_volume_id=text(3), snapshot_id=text(4), secrets=labels(5)),
    Message(entries=many(1, _OF_SNAPSHOT), next_token=text(2)),
)
GET_SNAPSHOT = _controller("GetSnapshot", Message(snapshot_id=text(1), secrets=labels(2)), _OF_SNAPSHOT)
CONTROLLER_EXPAND_VOLUME = _controller(
    "ControllerExpandVolume",
    Message(volume_id=text(1), capacity_range=sub(2, _RANGE), secrets=labels(3), volume_capability=sub(4, CAPABILITY)),
    Message(capacity_bytes=number(1), node_expansion_required=flag(2)),
)

NODE_STAGE_VOLUME = _node(
    "NodeStageVolume",
    Message(
        volume_id=text(1), publish_context=labels(2), staging_target_path=text(3), volume_capability=sub(4, CAPABILITY), secrets=labels(5),
        volume_context=labels(6),
    ),
)  # fmt: skip
NODE_UNSTAGE_VOLUME = _node("NodeUnstageVolume", Message(volume_id=text(1), staging_target_path=text(2)))
NODE_PUBLISH_VOLUME = _node(
    "NodePublishVolume",
    Message(
        volume_id=text(1), publish_context=labels(2), staging_target_path=text(3), target_path=text(4), volume_capability=sub(5, CAPABILITY),
        readonly=flag(6), secrets=labels(7), volume_context=labels(8),
    ),
)  # fmt: skip
NODE_UNPUBLISH_VOLUME = _node("NodeUnpublishVolume", Message(volume_id=text(1), target_path=text(2)))
NODE_GET_VOLUME_STATS = _node(
    "NodeGetVolumeStats",
    Message(volume_id=text(1), volume_path=text(2), staging_target_path=text(3)),
    Message(
        usage=many(1, Message(available=number(1), total=number(2), used=number(3), unit=number(4))),
        volume_condition=sub(2, _CONDITION),
    ),
)
NODE_EXPAND_VOLUME = _node(
    "NodeExpandVolume",
    Message(
        volume_id=text(1), volume_path=text(2), capacity_range=sub(3, _RANGE), staging_target_path=text(4), volume_capability=sub(5, CAPABILITY),
        secrets=labels(6),
    ),
    Message(capacity_bytes=number(1)),
)  # fmt: skip
NODE_GET_CAPABILITIES = _node("NodeGetCapabilities", EMPTY, _RPC_CAPABILITIES)
NODE_GET_INFO = _node("NodeGetInfo", EMPTY, Message(node_id=text(1), max_volumes_per_node=number(2), accessible_topology=sub(3, _TOPOLOGY)))
