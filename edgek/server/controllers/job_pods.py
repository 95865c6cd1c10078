"""How a Job's pods look: tracked by a finalizer, and numbered if the Job is Indexed. Pure."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import job_tally, podmaking
from edgek.server.controllers.views import COMPLETION_INDEX, INDEX_FAILURES

NAME_MOST = 63  # bytes of a host name


def tracked(job: Object) -> Object:
    made = podmaking.from_template(job["spec"]["template"], job, kinds.JOB)
    meta = made["metadata"]
    meta["finalizers"] = [*meta.get("finalizers", ()), job_tally.FINALIZER]
    return made


def numbered(job: Object, index: int, failures: int) -> Object:
    """``failures`` of this index so far, where the Job limits them per index."""
    made = tracked(job)
    meta, spec = made["metadata"], made["spec"]
    meta["generateName"] = f"{objects.name(job)}-{index}-"
    meta.setdefault("annotations", {})[COMPLETION_INDEX] = str(index)
    meta.setdefault("labels", {})[COMPLETION_INDEX] = str(index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        meta["annotations"][INDEX_FAILURES] = str(failures)
    spec["hostname"] = f"{objects.name(job)}-{index}"[-NAME_MOST:].lstrip("-.")
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        environment: list[dict[str, Any]] = container.setdefault("env", [])
        if not any(each.get("name") == "JOB_COMPLETION_INDEX" for each in environment):
            source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{COMPLETION_INDEX}']"}}
            environment.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return made
