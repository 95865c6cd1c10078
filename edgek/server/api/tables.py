"""Tables: what ``kubectl get`` prints is decided by the server.

The columns of a kind stand in the packed ``columns``, its printer in PRINTERS. A kind without either gets its name and age, as a custom resource does
that asks for nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edgek.host import wallclock
from edgek.model import kinds, packed
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api.printers import cluster, network, pods, volumes, workloads

Printer = Callable[[Object, datetime], list[Any]]

PRINTERS: Mapping[Kind, Printer] = {
    kinds.COMPONENT_STATUS: cluster.component_status,
    kinds.CONFIG_MAP: cluster.config_map,
    kinds.ENDPOINTS: network.endpoints,
    kinds.EVENT: cluster.event,
    kinds.EVENT_V1: cluster.event,
    kinds.LIMIT_RANGE: cluster.dated,
    kinds.NAMESPACE: cluster.namespace,
    kinds.NODE: cluster.node,
    kinds.PERSISTENT_VOLUME_CLAIM: volumes.persistent_volume_claim,
    kinds.PERSISTENT_VOLUME: volumes.persistent_volume,
    kinds.POD: pods.pod,
    kinds.POD_TEMPLATE: pods.pod_template,
    kinds.REPLICATION_CONTROLLER: workloads.replication_controller,
    kinds.RESOURCE_QUOTA: cluster.resource_quota,
    kinds.SECRET: cluster.secret,
    kinds.SERVICE: network.service,
    kinds.API_SERVICE: cluster.api_service,
    kinds.CONTROLLER_REVISION: workloads.controller_revision,
    kinds.DAEMON_SET: workloads.daemon_set,
    kinds.DEPLOYMENT: workloads.deployment,
    kinds.REPLICA_SET: workloads.replica_set,
    kinds.STATEFUL_SET: workloads.stateful_set,
    kinds.HORIZONTAL_POD_AUTOSCALER: workloads.horizontal_pod_autoscaler,
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: workloads.horizontal_pod_autoscaler,
    kinds.CRON_JOB: workloads.cron_job,
    kinds.JOB: workloads.job,
    kinds.CERTIFICATE_SIGNING_REQUEST: cluster.certificate_signing_request,
    kinds.INGRESS_CLASS: network.ingress_class,
    kinds.INGRESS: network.ingress,
    kinds.IP_ADDRESS: network.ip_address,
    kinds.NETWORK_POLICY: network.network_policy,
    kinds.SERVICE_CIDR: network.service_cidr,
    kinds.POD_DISRUPTION_BUDGET: workloads.pod_disruption_budget,
    kinds.CLUSTER_ROLE_BINDING: cluster.role_binding,
    kinds.CLUSTER_ROLE: cluster.dated,
    kinds.ROLE_BINDING: cluster.role_binding,
    kinds.ROLE: cluster.dated,
    kinds.CSI_DRIVER: volumes.csi_driver,
    kinds.CSI_NODE: volumes.csi_node,
    kinds.CSI_STORAGE_CAPACITY: cluster.dated,
    kinds.STORAGE_CLASS: volumes.storage_class,
    kinds.VOLUME_ATTACHMENT: volumes.volume_attachment,
    kinds.VOLUME_ATTRIBUTES_CLASS: volumes.volume_attributes_class,
    kinds.MUTATING_ADMISSION_POLICY: cluster.mutating_admission_policy,
    kinds.MUTATING_ADMISSION_POLICY_BINDING: cluster.admission_policy_binding,
    kinds.MUTATING_WEBHOOK_CONFIGURATION: cluster.webhook_configuration,
    kinds.VALIDATING_ADMISSION_POLICY: cluster.validating_admission_policy,
    kinds.VALIDATING_ADMISSION_POLICY_BINDING: cluster.admission_policy_binding,
    kinds.VALIDATING_WEBHOOK_CONFIGURATION: cluster.webhook_configuration,
    kinds.CUSTOM_RESOURCE_DEFINITION: cluster.dated,
    kinds.PRIORITY_CLASS: cluster.priority_class,
    kinds.LEASE: cluster.lease,
    kinds.RUNTIME_CLASS: cluster.runtime_class,
    kinds.ENDPOINT_SLICE: network.endpoint_slice,
    kinds.RESOURCE_CLAIM: volumes.resource_claim,
    kinds.RESOURCE_SLICE: volumes.resource_slice,
    kinds.FLOW_SCHEMA: cluster.flow_schema,
    kinds.PRIORITY_LEVEL_CONFIGURATION: cluster.priority_level,
}

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_PLAIN_COLUMNS = (("Name", "string", "name", 0), ("Age", "date", "", 0))


def table(
    kind: Kind,
    objects: Iterable[Object],
    *,
    include_object: str = "Metadata",
    with_columns: bool = True,
    list_meta: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """A meta.k8s.io/v1 Table. ``include_object`` is None, Metadata or Object; a watch says its columns only once."""
    moment = now or datetime.fromtimestamp(wallclock.now(), UTC)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(list_meta or {}),
        "columnDefinitions": list(columns(kind)) if with_columns else [],
        "rows": [_row(kind, obj, include_object, moment) for obj in objects],
    }


@functools.lru_cache(maxsize=256)
def columns(kind: Kind) -> Sequence[dict[str, Any]]:
    found = packed.load("columns").get(f"{kind.group or 'core'}/{kind.version}/{kind.plural}", _PLAIN_COLUMNS)
    return tuple(
        {"name": name, "type": type_, "format": format_, "description": "", "priority": priority} for name, type_, format_, priority in found
    )


def _row(kind: Kind, obj: Object, include_object: str, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": PRINTERS.get(kind, cluster.plain)(obj, now)}
    if kind is kinds.POD and (conditions := pods.pod_conditions(obj)):
        row["conditions"] = conditions
    if include_object == "Object":
        row["object"] = {**obj, "kind": kind.name, "apiVersion": kind.api_version}
    elif include_object == "Metadata":
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": _shown_metadata(kind, obj)}
    else:
        row["object"] = None
    return row


def _shown_metadata(kind: Kind, obj: Object) -> dict[str, Any]:
    """Tables are made of upstream's internal objects, where the generation of a DaemonSet's template is no annotation."""
    metadata: dict[str, Any] = obj.get("metadata") or {}
    if kind is not kinds.DAEMON_SET or _TEMPLATE_GENERATION not in (metadata.get("annotations") or {}):
        return metadata
    annotations = {name: value for name, value in metadata["annotations"].items() if name != _TEMPLATE_GENERATION}
    rest = {name: value for name, value in metadata.items() if name != "annotations"}
    return {**rest, "annotations": annotations} if annotations else rest
