"""CronJobs: jobs by the clock."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.job import check_job_spec
from edgek.server.resources.pod_defaults import default_template, fill_blanks, fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError
from edgek.server.resources.validation.schedule import schedule_problem, time_zone_problem

LONGEST_NAME = 52  # its jobs are named with eleven characters more, and those are labels
POLICIES = ("Allow", "Forbid", "Replace")


class CronJob(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.CRON_JOB)

    def name_problems(self, name: str) -> Sequence[str]:
        return names.dns_subdomain(name) + names.too_long(name, LONGEST_NAME)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_blanks(spec, {"concurrencyPolicy": "Allow"})
        fill_members(spec, {"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1})
        # The job's own defaults are filled in when there is a job.
        job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        default_template(job.setdefault("template", {}))

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        schedule = spec.get("schedule") or ""
        if not schedule:
            errors.required(SPEC / "schedule")
        elif problem := schedule_problem(schedule):
            errors.invalid(SPEC / "schedule", schedule, problem)
        errors.non_negative(SPEC / "startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
        zone = spec.get("timeZone")
        if zone is not None and (problem := time_zone_problem(zone)):
            errors.invalid(SPEC / "timeZone", zone, problem)
        errors.choice(SPEC / "concurrencyPolicy", spec.get("concurrencyPolicy") or "", POLICIES)
        check_job_spec(errors, SPEC / "jobTemplate" / "spec", (spec.get("jobTemplate") or {}).get("spec") or {})
        for member in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            errors.non_negative(SPEC / member, spec.get(member))
        return errors.found
