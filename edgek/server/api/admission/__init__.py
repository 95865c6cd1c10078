"""The ADMISSION table: the steps that every write passes, in this order. Steps that change an object come before those that only judge it."""

from __future__ import annotations

from edgek.server.api.admission.base import AdmissionStep, Defaults, Step
from edgek.server.api.admission.certificates import CertificateRequests, CertificateSubjectRestriction
from edgek.server.api.admission.create_permission import CreatePermission
from edgek.server.api.admission.ingress_class import DefaultIngressClass
from edgek.server.api.admission.limit_ranger import LimitRanger
from edgek.server.api.admission.namespace_lifecycle import NamespaceLifecycle
from edgek.server.api.admission.node_restriction import NodeRestriction
from edgek.server.api.admission.pod_security import PodSecurity
from edgek.server.api.admission.priority import Priority
from edgek.server.api.admission.rbac_escalation import RbacEscalation
from edgek.server.api.admission.runtime_class import RuntimeClass
from edgek.server.api.admission.service_account import ServiceAccount
from edgek.server.api.admission.storage import DefaultStorageClass, PersistentVolumeClaimResize, StorageObjectInUseProtection
from edgek.server.api.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from edgek.server.api.authz import Authorizer

ADMISSION: tuple[type[Step], ...] = (
    CreatePermission,
    NamespaceLifecycle,
    RbacEscalation,
    NodeRestriction,
    LimitRanger,
    ServiceAccount,
    TaintNodesByCondition,
    PodSecurity,
    Priority,
    DefaultTolerationSeconds,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    PersistentVolumeClaimResize,
    RuntimeClass,
    CertificateRequests,
    CertificateSubjectRestriction,
    DefaultIngressClass,
)


def steps(authorizer: Authorizer, defaults: Defaults | None = None) -> tuple[AdmissionStep, ...]:
    """The table, ready to be used by a server that decides with ``authorizer``."""
    return tuple(make(authorizer, defaults) for make in ADMISSION)
