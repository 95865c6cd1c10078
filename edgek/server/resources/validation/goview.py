"""Objects as some of upstream's messages show them: its internal structures, every field there, absent ones as zero values.

Clients that print a 422 show these dumps to people, and tests compare them. Only types that appear in such messages have a line here; anything deeper
is shown as it came, its names capitalised.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import orjson

# A field is its Go name and what stands after it: nothing (a string), ``?`` (null when absent), ``=false``/``=0`` (that value when absent),
# ``:T`` (a structure T), ``*T`` (T or null), ``[T`` (a list of T or null).
_TYPES = {
    "PodSpec": "Volumes[Volume InitContainers[Container Containers[Container EphemeralContainers[EphemeralContainer RestartPolicy"
    " TerminationGracePeriodSeconds? ActiveDeadlineSeconds? DNSPolicy NodeSelector? ServiceAccountName AutomountServiceAccountToken? NodeName"
    " SecurityContext*PodSecurityContext ImagePullSecrets[LocalObjectReference Hostname Subdomain SetHostnameAsFQDN? Affinity*Affinity SchedulerName"
    " Tolerations[Toleration HostAliases[HostAlias PriorityClassName Priority? PreemptionPolicy? DNSConfig*PodDNSConfig ReadinessGates[ReadinessGate"
    " RuntimeClassName? Overhead? EnableServiceLinks? TopologySpreadConstraints? OS*PodOS SchedulingGates[SchedulingGate"
    " ResourceClaims[PodResourceClaim Resources*ResourceRequirements HostnameOverride? SchedulingGroup?",
    "PodSecurityContext": "HostNetwork=false HostPID=false HostIPC=false ShareProcessNamespace? HostUsers? SELinuxOptions*SELinuxOptions WindowsOptions?"
    " RunAsUser? RunAsGroup? RunAsNonRoot? SupplementalGroups? SupplementalGroupsPolicy? FSGroup? FSGroupChangePolicy? Sysctls[Sysctl"
    " SeccompProfile*Profile AppArmorProfile*Profile SELinuxChangePolicy?",
    "SecurityContext": "Capabilities*Capabilities Privileged? SELinuxOptions*SELinuxOptions WindowsOptions? RunAsUser? RunAsGroup? RunAsNonRoot?"
    " ReadOnlyRootFilesystem? AllowPrivilegeEscalation? ProcMount? SeccompProfile*Profile AppArmorProfile*Profile",
    "Capabilities": "Add? Drop?",
    "SELinuxOptions": "User Role Type Level",
    "Profile": "Type LocalhostProfile?",
    "Sysctl": "Name Value",
    "Container": "Name Image Command? Args? WorkingDir Ports[ContainerPort EnvFrom[EnvFromSource Env[EnvVar Resources:ResourceRequirements"
    " ResizePolicy[ContainerResizePolicy RestartPolicy? RestartPolicyRules? VolumeMounts[VolumeMount VolumeDevices[VolumeDevice LivenessProbe*Probe"
    " ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy"
    " SecurityContext*SecurityContext Stdin=false StdinOnce=false TTY=false",
    "ContainerPort": "Name HostPort=0 ContainerPort=0 Protocol HostIP",
    "ContainerResizePolicy": "ResourceName RestartPolicy",
    "EnvFromSource": "Prefix ConfigMapRef*OptionalReference SecretRef*OptionalReference",
    "OptionalReference": "Name Optional?",
    "EnvVar": "Name Value ValueFrom*EnvVarSource",
    "EnvVarSource": "FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector ConfigMapKeyRef*KeySelector SecretKeyRef*KeySelector FileKeyRef?",
    "ObjectFieldSelector": "APIVersion FieldPath",
    "ResourceFieldSelector": "ContainerName Resource Divisor",
    "KeySelector": "Name Key Optional?",
    "ResourceRequirements": "Limits? Requests? Claims[ResourceClaim",
    "ResourceClaim": "Name Request",
    "VolumeMount": "Name ReadOnly=false RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr",
    "VolumeDevice": "Name DevicePath",
    "Probe": "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction GRPC*GRPCAction InitialDelaySeconds=0 TimeoutSeconds=0 PeriodSeconds=0"
    " SuccessThreshold=0 FailureThreshold=0 TerminationGracePeriodSeconds?",
    "ExecAction": "Command?",
    "HTTPGetAction": "Path Port Host Scheme HTTPHeaders[HTTPHeader",
    "HTTPHeader": "Name Value",
    "TCPSocketAction": "Port Host",
    "GRPCAction": "Port=0 Service?",
    "Lifecycle": "PostStart*LifecycleHandler PreStop*LifecycleHandler StopSignal?",
    "LifecycleHandler": "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction Sleep*SleepAction",
    "SleepAction": "Seconds=0",
    "LocalObjectReference": "Name",
    "Affinity": "NodeAffinity? PodAffinity? PodAntiAffinity?",
    "Toleration": "Key Operator Value Effect TolerationSeconds?",
    "HostAlias": "IP Hostnames?",
    "PodDNSConfig": "Nameservers? Searches? Options?",
    "ReadinessGate": "ConditionType",
    "SchedulingGate": "Name",
    "PodOS": "Name",
    "PodResourceClaim": "Name ResourceClaimName? ResourceClaimTemplateName?",
    "HostPathVolumeSource": "Path Type?",
    "EmptyDirVolumeSource": "Medium SizeLimit?",
    "SecretVolumeSource": "SecretName Items[KeyToPath DefaultMode? Optional?",
    "ConfigMapVolumeSource": "Name Items[KeyToPath DefaultMode? Optional?",
    "KeyToPath": "Key Path Mode?",
    "NFSVolumeSource": "Server Path ReadOnly=false",
    "PersistentVolumeClaimVolumeSource": "ClaimName ReadOnly=false",
    "DownwardAPIVolumeSource": "Items[DownwardAPIVolumeFile DefaultMode?",
    "DownwardAPIVolumeFile": "Path FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector Mode?",
    "ProjectedVolumeSource": "Sources[VolumeProjection DefaultMode?",
    "VolumeProjection": "Secret*ProjectedKeys DownwardAPI*DownwardAPIProjection ConfigMap*ProjectedKeys ServiceAccountToken*ServiceAccountTokenProjection"
    " ClusterTrustBundle? PodCertificate?",
    "ProjectedKeys": "Name Items[KeyToPath Optional?",
    "DownwardAPIProjection": "Items[DownwardAPIVolumeFile",
    "ServiceAccountTokenProjection": "Audience ExpirationSeconds=0 Path",
    "CSIVolumeSource": "Driver ReadOnly? FSType? VolumeAttributes? NodePublishSecretRef*LocalObjectReference",
    "PersistentVolumeClaimSpec": "AccessModes? Selector? Resources:VolumeResourceRequirements VolumeName StorageClassName? VolumeMode?"
    " DataSource*TypedLocalObjectReference DataSourceRef*TypedObjectReference VolumeAttributesClassName?",
    "VolumeResourceRequirements": "Limits? Requests?",
    "TypedLocalObjectReference": "APIGroup? Kind Name",
    "TypedObjectReference": "APIGroup? Kind Name Namespace?",
    "PersistentVolumeSource": "GCEPersistentDisk? AWSElasticBlockStore? HostPath*HostPathVolumeSource Glusterfs? NFS*NFSVolumeSource RBD? Quobyte? ISCSI?"
    " FlexVolume? Cinder? CephFS? FC? Flocker? AzureFile? VsphereVolume? AzureDisk? PhotonPersistentDisk? PortworxVolume? ScaleIO? Local*LocalVolumeSource"
    " StorageOS? CSI?",
    "LocalVolumeSource": "Path FSType?",
    "Taint": "Key Value Effect TimeAdded?",
    "ServicePort": "Name Protocol AppProtocol? Port=0 TargetPort=0 NodePort=0",
    "PodDisruptionBudgetSpec": "MinAvailable? Selector? MaxUnavailable? UnhealthyPodEvictionPolicy?",
    "UpdateStrategy": "Type RollingUpdate?",
    "RoleRef": "APIGroup Kind Name",
    "EndpointPort": "Name Port=0 Protocol AppProtocol?",
}
_TYPES["EphemeralContainer"] = f"{_TYPES['Container']} TargetContainerName"
_TYPES["Volume"] = (
    "Name HostPath*HostPathVolumeSource EmptyDir*EmptyDirVolumeSource GCEPersistentDisk? AWSElasticBlockStore? GitRepo? Secret*SecretVolumeSource"
    " NFS*NFSVolumeSource ISCSI? Glusterfs? PersistentVolumeClaim*PersistentVolumeClaimVolumeSource RBD? Quobyte? FlexVolume? Cinder? CephFS? Flocker?"
    " DownwardAPI*DownwardAPIVolumeSource FC? AzureFile? ConfigMap*ConfigMapVolumeSource VsphereVolume? AzureDisk? PhotonPersistentDisk?"
    " Projected*ProjectedVolumeSource PortworxVolume? ScaleIO? StorageOS? CSI*CSIVolumeSource Ephemeral? Image?"
)
_ODD_NAMES = {"CephFS": "cephfs", "StorageOS": "storageos"}
_ZEROES: dict[str, Any] = {"false": False, "0": 0}
# Fields of the pod spec that upstream keeps in its pod security context.
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def dumped(type_: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A structure of this type with every field in upstream's order."""
    if value is None:
        return None
    if type_ == "PodSpec":
        value = {**value, "securityContext": {**(value.get("securityContext") or {}), **{k: value[k] for k in _HOST_FIELDS if k in value}}}
    return dict(_field(text, value) for text in _TYPES[type_].split())


def dumped_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template: its metadata stands there without a name of its own."""
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    return {**meta, "Spec": dumped("PodSpec", template.get("spec") or {})}


def difference(type_: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A unified diff of two structures, as upstream appends it to "may not change"."""
    before, after = (orjson.dumps(dumped(type_, each), option=orjson.OPT_INDENT_2).decode() for each in (old, new))
    lines = list(difflib.unified_diff(_one_blank(before), _one_blank(after), lineterm=""))
    return "".join(f"{line}\n" for line in lines[2:])


def _one_blank(text: str) -> list[str]:
    """Upstream indents by one blank."""
    lines = text.splitlines()
    return [" " * ((len(line) - len(line.lstrip())) // 2) + line.lstrip() for line in lines]


def _field(text: str, value: Mapping[str, Any]) -> tuple[str, Any]:
    name = text.rstrip("?")
    for mark in "=:*[":
        if mark in text:
            name, _, rest = text.partition(mark)
            return name, _marked(mark, rest, value.get(_json_name(name)))
    found = value.get(_json_name(name))
    if text.endswith("?"):
        return name, None if found in ([], {}) else _capitalised(found) if name in _DEEP else found
    return name, "" if found is None else found


# Unlisted structures below these are shown with capitalised names; other open fields are maps and plain values, shown as they are.
_DEEP = frozenset(
    {"NodeAffinity", "PodAffinity", "PodAntiAffinity", "Ephemeral", "Image", "CSI", "TopologySpreadConstraints", "Options", "RollingUpdate"}
)


def _marked(mark: str, rest: str, found: Any) -> Any:
    if mark == "=":
        return _ZEROES[rest] if found is None else found
    if mark == ":":
        return dumped(rest, found or {})
    if mark == "*":
        return dumped(rest, found)
    return [dumped(rest, each) for each in found] if found else None


def _json_name(name: str) -> str:
    """``DNSPolicy`` → ``dnsPolicy``, ``TTY`` → ``tty``: the capitals at the start, but not that of a second word, become small."""
    if name in _ODD_NAMES:
        return _ODD_NAMES[name]
    capitals = next((index for index, char in enumerate(name) if not char.isupper()), len(name))
    small = capitals if capitals in (1, len(name)) else capitals - 1
    return name[:small].lower() + name[small:]


def _capitalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _capitalised(each) for key, each in value.items()}
    return [_capitalised(each) for each in value] if isinstance(value, list) else value
