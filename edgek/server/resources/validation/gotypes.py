"""The fields of upstream's internal structures, in their order, for ``goview``: a table and nothing else.

A field is its Go name and what stands after it: nothing (a string), ``?`` (null when absent), ``=false``/``=0`` (that value when absent), ``:T`` (a
structure T), ``*T`` (T or null), ``[T`` (a list of T or null).
"""

TYPES = {
    "PodSpec": (
        "Volumes[Volume InitContainers[Container Containers[Container EphemeralContainers[EphemeralContainer RestartPolicy "
        "TerminationGracePeriodSeconds? ActiveDeadlineSeconds? DNSPolicy NodeSelector? ServiceAccountName "
        "AutomountServiceAccountToken? NodeName SecurityContext*PodSecurityContext ImagePullSecrets[LocalObjectReference Hostname "
        "Subdomain SetHostnameAsFQDN? Affinity*Affinity SchedulerName Tolerations[Toleration HostAliases[HostAlias "
        "PriorityClassName Priority? PreemptionPolicy? DNSConfig*PodDNSConfig ReadinessGates[ReadinessGate RuntimeClassName? "
        "Overhead? EnableServiceLinks? TopologySpreadConstraints? OS*PodOS SchedulingGates[SchedulingGate "
        "ResourceClaims[PodResourceClaim Resources*ResourceRequirements HostnameOverride? SchedulingGroup?"
    ),
    "PodSecurityContext": (
        "HostNetwork=false HostPID=false HostIPC=false ShareProcessNamespace? HostUsers? SELinuxOptions*SELinuxOptions "
        "WindowsOptions? RunAsUser? RunAsGroup? RunAsNonRoot? SupplementalGroups? SupplementalGroupsPolicy? FSGroup? "
        "FSGroupChangePolicy? Sysctls[Sysctl SeccompProfile*Profile AppArmorProfile*Profile SELinuxChangePolicy?"
    ),
    "SecurityContext": (
        "Capabilities*Capabilities Privileged? SELinuxOptions*SELinuxOptions WindowsOptions? RunAsUser? RunAsGroup? RunAsNonRoot? "
        "ReadOnlyRootFilesystem? AllowPrivilegeEscalation? ProcMount? SeccompProfile*Profile AppArmorProfile*Profile"
    ),
    "Capabilities": "Add? Drop?",
    "SELinuxOptions": "User Role Type Level",
    "Profile": "Type LocalhostProfile?",
    "Sysctl": "Name Value",
    "Container": (
        "Name Image Command? Args? WorkingDir Ports[ContainerPort EnvFrom[EnvFromSource Env[EnvVar Resources:ResourceRequirements "
        "ResizePolicy[ContainerResizePolicy RestartPolicy? RestartPolicyRules? VolumeMounts[VolumeMount "
        "VolumeDevices[VolumeDevice LivenessProbe*Probe ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle "
        "TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext*SecurityContext Stdin=false "
        "StdinOnce=false TTY=false"
    ),
    "ContainerPort": "Name HostPort=0 ContainerPort=0 Protocol HostIP",
    "ContainerResizePolicy": "ResourceName RestartPolicy",
    "EnvFromSource": "Prefix ConfigMapRef*OptionalReference SecretRef*OptionalReference",
    "OptionalReference": "Name Optional?",
    "EnvVar": "Name Value ValueFrom*EnvVarSource",
    "EnvVarSource": (
        "FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector ConfigMapKeyRef*KeySelector SecretKeyRef*KeySelector FileKeyRef?"
    ),
    "ObjectFieldSelector": "APIVersion FieldPath",
    "ResourceFieldSelector": "ContainerName Resource Divisor",
    "KeySelector": "Name Key Optional?",
    "ResourceRequirements": "Limits? Requests? Claims[ResourceClaim",
    "ResourceClaim": "Name Request",
    "VolumeMount": "Name ReadOnly=false RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr",
    "VolumeDevice": "Name DevicePath",
    "Probe": (
        "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction GRPC*GRPCAction InitialDelaySeconds=0 TimeoutSeconds=0 "
        "PeriodSeconds=0 SuccessThreshold=0 FailureThreshold=0 TerminationGracePeriodSeconds?"
    ),
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
    "VolumeProjection": (
        "Secret*ProjectedKeys DownwardAPI*DownwardAPIProjection ConfigMap*ProjectedKeys "
        "ServiceAccountToken*ServiceAccountTokenProjection ClusterTrustBundle? PodCertificate?"
    ),
    "ProjectedKeys": "Name Items[KeyToPath Optional?",
    "DownwardAPIProjection": "Items[DownwardAPIVolumeFile",
    "ServiceAccountTokenProjection": "Audience ExpirationSeconds=0 Path",
    "CSIVolumeSource": "Driver ReadOnly? FSType? VolumeAttributes? NodePublishSecretRef*LocalObjectReference",
    "PersistentVolumeClaimSpec": (
        "AccessModes? Selector? Resources:VolumeResourceRequirements VolumeName StorageClassName? VolumeMode? "
        "DataSource*TypedLocalObjectReference DataSourceRef*TypedObjectReference VolumeAttributesClassName?"
    ),
    "VolumeResourceRequirements": "Limits? Requests?",
    "TypedLocalObjectReference": "APIGroup? Kind Name",
    "TypedObjectReference": "APIGroup? Kind Name Namespace?",
    "PersistentVolumeSource": (
        "GCEPersistentDisk? AWSElasticBlockStore? HostPath*HostPathVolumeSource Glusterfs? NFS*NFSVolumeSource RBD? Quobyte? "
        "ISCSI? FlexVolume? Cinder? CephFS? FC? Flocker? AzureFile? VsphereVolume? AzureDisk? PhotonPersistentDisk? "
        "PortworxVolume? ScaleIO? Local*LocalVolumeSource StorageOS? CSI?"
    ),
    "LocalVolumeSource": "Path FSType?",
    "Taint": "Key Value Effect TimeAdded?",
    "ServicePort": "Name Protocol AppProtocol? Port=0 TargetPort=0 NodePort=0",
    "PodDisruptionBudgetSpec": "MinAvailable? Selector? MaxUnavailable? UnhealthyPodEvictionPolicy?",
    "UpdateStrategy": "Type RollingUpdate?",
    "RoleRef": "APIGroup Kind Name",
    "EndpointPort": "Name Port=0 Protocol AppProtocol?",
    "Volume": (
        "Name HostPath*HostPathVolumeSource EmptyDir*EmptyDirVolumeSource GCEPersistentDisk? AWSElasticBlockStore? GitRepo? "
        "Secret*SecretVolumeSource NFS*NFSVolumeSource ISCSI? Glusterfs? PersistentVolumeClaim*PersistentVolumeClaimVolumeSource "
        "RBD? Quobyte? FlexVolume? Cinder? CephFS? Flocker? DownwardAPI*DownwardAPIVolumeSource FC? AzureFile? "
        "ConfigMap*ConfigMapVolumeSource VsphereVolume? AzureDisk? PhotonPersistentDisk? Projected*ProjectedVolumeSource "
        "PortworxVolume? ScaleIO? StorageOS? CSI*CSIVolumeSource Ephemeral? Image?"
    ),
}
TYPES["EphemeralContainer"] = f"{TYPES['Container']} TargetContainerName"
