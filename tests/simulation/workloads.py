"""What users of a simulated cluster ask for."""

from __future__ import annotations

from typing import Any

from edgek.model.objects import Object

LABELS = {"app": "web"}


def pod_spec(*command: str, image: str = "web:1", cpu: str = "", grace_s: int = 5, container: dict[str, Any] | None = None, **spec: Any) -> Object:
    """One container; without a command it runs for ever."""
    main: dict[str, Any] = {"name": "main", "image": image, **(container or {})}
    if command:
        main["command"] = list(command)
    if cpu:
        main["resources"] = {"requests": {"cpu": cpu}}
    return {"containers": [main], "terminationGracePeriodSeconds": grace_s, **spec}


def pod(name: str, *command: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or LABELS}, "spec": pod_spec(*command, **spec)}


def template(*command: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"labels": labels or LABELS}, "spec": pod_spec(*command, **spec)}


def deployment(replicas: int = 4, name: str = "web", *, labels: dict[str, str] | None = None, made: Object | None = None, **spec: Any) -> Object:
    labels = labels or LABELS
    made = made or template(labels=labels)
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": made, **spec}}


def daemon_set(name: str = "agent", **spec: Any) -> Object:
    labels = {"app": name}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template(labels=labels), **spec}}


def job(name: str = "work", *command: str, **spec: Any) -> Object:
    made = {"metadata": {}, "spec": pod_spec(*command, restartPolicy="Never")}
    return {"metadata": {"name": name}, "spec": {"template": made, **spec}}


def service(name: str = "web", labels: dict[str, str] | None = None) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": labels or LABELS, "ports": [{"port": 80, "targetPort": 8080}]}}


def budget(name: str = "web", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": LABELS}, **spec}}


def claim(name: str = "work", storage_class: str = "", size: str = "1Gi") -> Object:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"metadata": {"name": name}, "spec": spec}


def with_claim(name: str = "work") -> dict[str, Any]:
    """Of a pod's spec, the volumes."""
    return {"volumes": [{"name": "work", "persistentVolumeClaim": {"claimName": name}}]}


def image(name: str) -> Object:
    """A patch for something with a template."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}
