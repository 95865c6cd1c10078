"""The RESOURCES table: the kinds with rules of their own. Every other kind is a plain ``Resource``.

How to add one: a subclass of ``Resource`` in a module named for it, a line in ``RESOURCES``, a test beside it (``server/README.md``).
"""

from __future__ import annotations

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.server.resources.apiservice import APIService
from edgek.server.resources.autoscaling import HorizontalPodAutoscaler
from edgek.server.resources.base import FieldError, Resource
from edgek.server.resources.certificate import CertificateSigningRequest
from edgek.server.resources.cluster import Namespace, Node
from edgek.server.resources.config import ConfigMap, Secret
from edgek.server.resources.cronjob import CronJob
from edgek.server.resources.devices import ResourceClaim, ResourceClaimTemplate
from edgek.server.resources.drivers import CsiDriver, RuntimeClass, VolumeAttachment
from edgek.server.resources.endpoints import Endpoints, EndpointSlice
from edgek.server.resources.event import Event
from edgek.server.resources.flowcontrol import FlowSchema, PriorityLevelConfiguration
from edgek.server.resources.job import Job
from edgek.server.resources.lease import Lease
from edgek.server.resources.limits import LimitRange, ResourceQuota
from edgek.server.resources.networking import Ingress, IngressClass, NetworkPolicy
from edgek.server.resources.plain import Plain
from edgek.server.resources.pod import Pod, PodTemplate
from edgek.server.resources.policy import PodDisruptionBudget, PriorityClass
from edgek.server.resources.rbac import Role, RoleBinding
from edgek.server.resources.service import Service
from edgek.server.resources.service_ranges import IpAddress, ServiceCidr
from edgek.server.resources.stateful import StatefulSet
from edgek.server.resources.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from edgek.server.resources.webhooks import AdmissionPolicy, AdmissionPolicyBinding, WebhookConfiguration
from edgek.server.resources.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController

RESOURCES: tuple[Resource, ...] = (
    Namespace(),
    Node(),
    Pod(),
    PodTemplate(),
    Service(),
    Endpoints(),
    EndpointSlice(),
    ConfigMap(),
    Secret(),
    Deployment(),
    ReplicaSet(),
    ReplicationController(),
    DaemonSet(),
    StatefulSet(),
    Job(),
    CronJob(),
    HorizontalPodAutoscaler(kinds.HORIZONTAL_POD_AUTOSCALER),
    HorizontalPodAutoscaler(kinds.HORIZONTAL_POD_AUTOSCALER_V1),
    PersistentVolume(),
    PersistentVolumeClaim(),
    StorageClass(),
    Role(kinds.ROLE),
    Role(kinds.CLUSTER_ROLE),
    RoleBinding(kinds.ROLE_BINDING),
    RoleBinding(kinds.CLUSTER_ROLE_BINDING),
    PodDisruptionBudget(),
    PriorityClass(),
    APIService(),
    CertificateSigningRequest(),
    Lease(),
    Event(kinds.EVENT),
    Event(kinds.EVENT_V1),
    Ingress(),
    IngressClass(),
    NetworkPolicy(),
    LimitRange(),
    ResourceQuota(),
    RuntimeClass(),
    CsiDriver(),
    VolumeAttachment(),
    FlowSchema(),
    PriorityLevelConfiguration(),
    WebhookConfiguration(kinds.MUTATING_WEBHOOK_CONFIGURATION, mutating=True),
    WebhookConfiguration(kinds.VALIDATING_WEBHOOK_CONFIGURATION, mutating=False),
    AdmissionPolicy(kinds.MUTATING_ADMISSION_POLICY),
    AdmissionPolicy(kinds.VALIDATING_ADMISSION_POLICY),
    AdmissionPolicyBinding(kinds.MUTATING_ADMISSION_POLICY_BINDING),
    AdmissionPolicyBinding(kinds.VALIDATING_ADMISSION_POLICY_BINDING),
    ServiceCidr(),
    ResourceClaim(),
    ResourceClaimTemplate(),
    IpAddress(),
    Plain(kinds.CSI_NODE, strict=True),
    Plain(kinds.CSI_STORAGE_CAPACITY, strict=True),
    Plain(kinds.CUSTOM_RESOURCE_DEFINITION, "spec"),
    Plain(kinds.RESOURCE_SLICE, "spec"),
)

_BY_KIND = {resource.kind: resource for resource in RESOURCES}

__all__ = ["RESOURCES", "FieldError", "Resource", "of"]


def of(kind: Kind) -> Resource:
    """What is special about ``kind``."""
    return _BY_KIND.get(kind) or Resource(kind)
