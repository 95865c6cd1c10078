"""The CONTROLLERS table, in the order in which they start. One controller per file; README.md says how to add one.

Controllers know the cluster only through the API: ``client`` and ``model``, never the API server's own modules.
"""

from __future__ import annotations

from edgek.client.reconcile import Controller
from edgek.server.controllers.attachment import AttachmentController
from edgek.server.controllers.clusterroleaggregation import ClusterRoleAggregationController
from edgek.server.controllers.daemonset import DaemonSetController
from edgek.server.controllers.deployment import DeploymentController
from edgek.server.controllers.disruption import DisruptionController
from edgek.server.controllers.endpoints import EndpointsController
from edgek.server.controllers.endpointslice import EndpointSliceController
from edgek.server.controllers.endpointslicemirroring import EndpointSliceMirroringController
from edgek.server.controllers.ephemeralvolume import EphemeralVolumeController
from edgek.server.controllers.expansion import ExpansionController
from edgek.server.controllers.garbage import GarbageController
from edgek.server.controllers.job import JobController
from edgek.server.controllers.namespace import NamespaceController
from edgek.server.controllers.nodecidr import NodeCidrController
from edgek.server.controllers.nodelifecycle import NodeLifecycleController
from edgek.server.controllers.podgc import PodGcController
from edgek.server.controllers.provisioning import ProvisioningController
from edgek.server.controllers.replicaset import ReplicaSetController
from edgek.server.controllers.replicationcontroller import ReplicationControllerController
from edgek.server.controllers.resourcequota import ResourceQuotaController
from edgek.server.controllers.rootca import RootCaController
from edgek.server.controllers.secrettoken import SecretTokenController
from edgek.server.controllers.serviceaccount import ServiceAccountController
from edgek.server.controllers.tainteviction import TaintEvictionController
from edgek.server.controllers.tokencleaner import TokenCleanerController
from edgek.server.controllers.ttlafterfinished import TtlAfterFinishedController
from edgek.server.controllers.volumebinding import VolumeBindingController
from edgek.server.controllers.volumeprotection import ClaimProtectionController, VolumeProtectionController

ACCOUNT_PREFIX = "system:serviceaccount:kube-system:"

CONTROLLERS: tuple[type[Controller], ...] = (
    ServiceAccountController,
    RootCaController,
    SecretTokenController,
    ClusterRoleAggregationController,
    NamespaceController,
    GarbageController,
    NodeCidrController,
    NodeLifecycleController,
    TaintEvictionController,
    PodGcController,
    ReplicaSetController,
    ReplicationControllerController,
    DeploymentController,
    DaemonSetController,
    JobController,
    DisruptionController,
    TtlAfterFinishedController,
    TokenCleanerController,
    ResourceQuotaController,
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
    EphemeralVolumeController,
    VolumeBindingController,
    ProvisioningController,
    ExpansionController,
    AttachmentController,
    ClaimProtectionController,
    VolumeProtectionController,
)


def user_of(controller: type[Controller]) -> str:
    """The name of the user as whom a controller acts: upstream's account, whose role (``system:controller:...``) allows what it does and no more."""
    return ACCOUNT_PREFIX + controller.account
