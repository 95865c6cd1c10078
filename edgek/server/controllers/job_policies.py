"""What a Job's policies make of its pods: does a failure count, end an index, or end the Job; is the Job a success already. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgek.model.objects import Object
from edgek.server.controllers import job_indexes
from edgek.server.controllers.views import PodView


@attrs.frozen
class Verdict:
    """``action`` is FailJob, FailIndex, Ignore or Count; ``message`` says which rule said so."""

    action: str = "Count"
    message: str = ""


def of_failure(job: Object, pod: PodView) -> Verdict:
    """The first rule of ``podFailurePolicy`` that fits a failed pod; without one a failure counts."""
    for index, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        why = _fits(rule, pod)
        if why:
            return Verdict(rule["action"], f"{why} matching {rule['action']} rule at index {index}")
    return Verdict()


def of_success(job: Object, succeeded: set[int]) -> str:
    """Why the Job has succeeded by its ``successPolicy``, or an empty string."""
    for index, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        total = int(job["spec"].get("completions") or 0)
        named = job_indexes.parse(rule["succeededIndexes"], total) if rule.get("succeededIndexes") else None
        met = succeeded if named is None else succeeded & named
        needed = rule.get("succeededCount") or (len(named) if named is not None else total)
        if len(met) >= needed:
            return f"Matched rules at index {index}"
    return ""


def _fits(rule: Mapping[str, Any], pod: PodView) -> str:
    """How the rule fits, in upstream's words, or an empty string."""
    codes = rule.get("onExitCodes")
    if codes:
        for container, code in pod.exit_codes:
            named = codes.get("containerName")
            if code and named in (None, "", container) and (code in codes["values"]) == (codes["operator"] == "In"):
                return f"Container {container} for pod {pod.key} failed with exit code {code}"
    for wanted in rule.get("onPodConditions") or ():
        if (wanted["type"], wanted.get("status") or "True") in pod.conditions:
            return f"Pod {pod.key} has condition {wanted['type']}"
    return ""
