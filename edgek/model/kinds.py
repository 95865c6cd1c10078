"""The KINDS table: every kind of the GA API at Kubernetes v1.36, one line each.

A plain kind needs nothing but its line here to be created, read, listed, watched, patched and deleted. What is special about a kind stands in
``server/resources``; what its fields are, in the packed schemas (``schema.py``).
"""

from __future__ import annotations

import attrs

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_WRITE = ("get", "patch", "update")
PROXY_VERBS = ("create", "delete", "get", "patch", "update")


@attrs.frozen
class Subresource:
    """A path below an object. ``group`` and ``version`` are set only where they differ from the kind's own."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@attrs.frozen(cache_hash=True)  # it is the key of many tables that every request looks into
class Kind:
    """One kind in one version: what it is called and which verbs it answers.

    ``stored_as`` is the qualified resource under which its objects are kept, so that two groups can show the same objects (events).
    """

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    stored_as: str = ""

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def resource(self) -> str:
        """The qualified resource, as error messages print it and the store files it: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> str:
        return self.stored_as or self.resource

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection (no name), an object, or a subresource."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [self.plural, *filter(None, (name, subresource))]
        return "/".join(parts)


def status(kind: str) -> Subresource:
    return Subresource("status", kind, READ_WRITE)


SCALE = Subresource("scale", "Scale", READ_WRITE, "autoscaling", "v1")
CREATE_ONLY = ("create",)
API_EXTENSIONS = ("api-extensions",)

# fmt: off
BINDING = Kind("", "v1", "Binding", "bindings", verbs=CREATE_ONLY)
COMPONENT_STATUS = Kind("", "v1", "ComponentStatus", "componentstatuses", namespaced=False, short_names=("cs",), verbs=("get", "list"))
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",))
ENDPOINTS = Kind("", "v1", "Endpoints", "endpoints", short_names=("ep",))
EVENT = Kind("", "v1", "Event", "events", short_names=("ev",))
LIMIT_RANGE = Kind("", "v1", "LimitRange", "limitranges", short_names=("limits",))
NAMESPACE = Kind(
    "",
    "v1",
    "Namespace",
    "namespaces",
    namespaced=False,
    short_names=("ns",),
    subresources=(Subresource("finalize", "Namespace", ("update",)), status("Namespace")),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
)
NODE = Kind(
    "",
    "v1",
    "Node",
    "nodes",
    namespaced=False,
    short_names=("no",),
    subresources=(Subresource("proxy", "NodeProxyOptions", PROXY_VERBS), status("Node")),
)
PERSISTENT_VOLUME_CLAIM = Kind(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",), subresources=(status("PersistentVolumeClaim"),)
)
PERSISTENT_VOLUME = Kind(
    "", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv",), subresources=(status("PersistentVolume"),)
)
POD = Kind(
    "",
    "v1",
    "Pod",
    "pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", "PodAttachOptions", ("create", "get")),
        Subresource("binding", "Binding", ("create",)),
        Subresource("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
        Subresource("proxy", "PodProxyOptions", PROXY_VERBS),
        Subresource("resize", "Pod", READ_WRITE),
        status("Pod"),
    ),
)
POD_TEMPLATE = Kind("", "v1", "PodTemplate", "podtemplates")
REPLICATION_CONTROLLER = Kind(
    "",
    "v1",
    "ReplicationController",
    "replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    subresources=(SCALE, status("ReplicationController")),
)
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=(status("ResourceQuota"),))
SECRET = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    short_names=("sa",),
    subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
)
SERVICE = Kind(
    "",
    "v1",
    "Service",
    "services",
    short_names=("svc",),
    categories=("all",),
    subresources=(Subresource("proxy", "ServiceProxyOptions", PROXY_VERBS), status("Service")),
)
API_SERVICE = Kind(
    "apiregistration.k8s.io",
    "v1",
    "APIService",
    "apiservices",
    namespaced=False,
    categories=API_EXTENSIONS,
    subresources=(status("APIService"),),
)
CONTROLLER_REVISION = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), categories=("all",), subresources=(status("DaemonSet"),))
DEPLOYMENT = Kind(
    "apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=("all",), subresources=(SCALE, status("Deployment"))
)
REPLICA_SET = Kind(
    "apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), categories=("all",), subresources=(SCALE, status("ReplicaSet"))
)
STATEFUL_SET = Kind(
    "apps", "v1", "StatefulSet", "statefulsets", short_names=("sts",), categories=("all",), subresources=(SCALE, status("StatefulSet"))
)
EVENT_V1 = Kind("events.k8s.io", "v1", "Event", "events", short_names=("ev",), stored_as="events")
SELF_SUBJECT_REVIEW = Kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=CREATE_ONLY)
TOKEN_REVIEW = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False, verbs=CREATE_ONLY)
LOCAL_SUBJECT_ACCESS_REVIEW = Kind("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=CREATE_ONLY)
SELF_SUBJECT_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False, verbs=CREATE_ONLY
)
SELF_SUBJECT_RULES_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False, verbs=CREATE_ONLY
)
SUBJECT_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=CREATE_ONLY
)
HORIZONTAL_POD_AUTOSCALER = Kind(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    subresources=(status("HorizontalPodAutoscaler"),),
)
HORIZONTAL_POD_AUTOSCALER_V1 = Kind(
    "autoscaling",
    "v1",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    subresources=(status("HorizontalPodAutoscaler"),),
    stored_as="horizontalpodautoscalers.autoscaling",
)
CRON_JOB = Kind("batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=("all",), subresources=(status("CronJob"),))
JOB = Kind("batch", "v1", "Job", "jobs", categories=("all",), subresources=(status("Job"),))
CERTIFICATE_SIGNING_REQUEST = Kind(
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests",
    namespaced=False,
    short_names=("csr",),
    subresources=(Subresource("approval", "CertificateSigningRequest", READ_WRITE), status("CertificateSigningRequest")),
)
INGRESS_CLASS = Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False)
INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses", short_names=("ing",), subresources=(status("Ingress"),))
IP_ADDRESS = Kind("networking.k8s.io", "v1", "IPAddress", "ipaddresses", namespaced=False, short_names=("ip",))
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",))
SERVICE_CIDR = Kind("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, subresources=(status("ServiceCIDR"),))
POD_DISRUPTION_BUDGET = Kind(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), subresources=(status("PodDisruptionBudget"),)
)
CLUSTER_ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
CSI_DRIVER = Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False)
CSI_NODE = Kind("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False)
CSI_STORAGE_CAPACITY = Kind("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, short_names=("sc",))
VOLUME_ATTACHMENT = Kind(
    "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False, subresources=(status("VolumeAttachment"),)
)
VOLUME_ATTRIBUTES_CLASS = Kind(
    "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", namespaced=False, short_names=("vac",)
)
MUTATING_ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingAdmissionPolicy",
    "mutatingadmissionpolicies",
    namespaced=False,
    categories=API_EXTENSIONS,
)
MUTATING_ADMISSION_POLICY_BINDING = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingAdmissionPolicyBinding",
    "mutatingadmissionpolicybindings",
    namespaced=False,
    categories=API_EXTENSIONS,
)
MUTATING_WEBHOOK_CONFIGURATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
    categories=API_EXTENSIONS,
)
VALIDATING_ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
    categories=API_EXTENSIONS,
    subresources=(status("ValidatingAdmissionPolicy"),),
)
VALIDATING_ADMISSION_POLICY_BINDING = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
    categories=API_EXTENSIONS,
)
VALIDATING_WEBHOOK_CONFIGURATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
    categories=API_EXTENSIONS,
)
CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=API_EXTENSIONS,
    subresources=(status("CustomResourceDefinition"),),
)
PRIORITY_CLASS = Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False, short_names=("pc",))
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
RUNTIME_CLASS = Kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False)
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
DEVICE_CLASS = Kind("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False)
RESOURCE_CLAIM = Kind("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", subresources=(status("ResourceClaim"),))
RESOURCE_CLAIM_TEMPLATE = Kind("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
RESOURCE_SLICE = Kind("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False)
FLOW_SCHEMA = Kind(
    "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", namespaced=False, subresources=(status("FlowSchema"),)
)
PRIORITY_LEVEL_CONFIGURATION = Kind(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    "PriorityLevelConfiguration",
    "prioritylevelconfigurations",
    namespaced=False,
    subresources=(status("PriorityLevelConfiguration"),),
)

# fmt: on

KINDS: tuple[Kind, ...] = (
    BINDING,
    COMPONENT_STATUS,
    CONFIG_MAP,
    ENDPOINTS,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    PERSISTENT_VOLUME,
    POD,
    POD_TEMPLATE,
    REPLICATION_CONTROLLER,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    API_SERVICE,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    EVENT_V1,
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    HORIZONTAL_POD_AUTOSCALER,
    HORIZONTAL_POD_AUTOSCALER_V1,
    CRON_JOB,
    JOB,
    CERTIFICATE_SIGNING_REQUEST,
    INGRESS_CLASS,
    INGRESS,
    IP_ADDRESS,
    NETWORK_POLICY,
    SERVICE_CIDR,
    POD_DISRUPTION_BUDGET,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    ROLE_BINDING,
    ROLE,
    CSI_DRIVER,
    CSI_NODE,
    CSI_STORAGE_CAPACITY,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    VOLUME_ATTRIBUTES_CLASS,
    MUTATING_ADMISSION_POLICY,
    MUTATING_ADMISSION_POLICY_BINDING,
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    VALIDATING_WEBHOOK_CONFIGURATION,
    CUSTOM_RESOURCE_DEFINITION,
    PRIORITY_CLASS,
    LEASE,
    RUNTIME_CLASS,
    ENDPOINT_SLICE,
    DEVICE_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_CLAIM_TEMPLATE,
    RESOURCE_SLICE,
    FLOW_SCHEMA,
    PRIORITY_LEVEL_CONFIGURATION,
)

# Groups in the order in which discovery shows them, each with its versions, the preferred one first.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("apiregistration.k8s.io", ("v1",)),
    ("apps", ("v1",)),
    ("events.k8s.io", ("v1",)),
    ("authentication.k8s.io", ("v1",)),
    ("authorization.k8s.io", ("v1",)),
    ("autoscaling", ("v2", "v1")),
    ("batch", ("v1",)),
    ("certificates.k8s.io", ("v1",)),
    ("networking.k8s.io", ("v1",)),
    ("policy", ("v1",)),
    ("rbac.authorization.k8s.io", ("v1",)),
    ("storage.k8s.io", ("v1",)),
    ("admissionregistration.k8s.io", ("v1",)),
    ("apiextensions.k8s.io", ("v1",)),
    ("scheduling.k8s.io", ("v1",)),
    ("coordination.k8s.io", ("v1",)),
    ("node.k8s.io", ("v1",)),
    ("discovery.k8s.io", ("v1",)),
    ("resource.k8s.io", ("v1",)),
    ("flowcontrol.apiserver.k8s.io", ("v1",)),
)

# Kept in memory: an idle node renews a Lease every ten seconds, and that must not wear out an SD card (server/store/backend.py).
VOLATILE = frozenset({LEASE.storage, EVENT.storage})
