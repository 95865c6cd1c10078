"""Finished Jobs that clean up after themselves."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds
from edgek.server.controllers.job import JobController
from edgek.server.controllers.ttlafterfinished import TtlAfterFinishedController
from tests.fakes.scene import scene
from tests.server.controllers.test_job import job


async def test_a_finished_job_goes_after_its_time_and_a_running_one_stays(autojump_clock: Any) -> None:
    async with scene(JobController, TtlAfterFinishedController) as cluster:
        cluster.runner.outcome = lambda pod: "succeed" if pod["metadata"]["labels"]["job"] == "short" else "run"
        await cluster.create(kinds.JOB, job("short", ttlSecondsAfterFinished=60))
        await cluster.create(kinds.JOB, job("long", ttlSecondsAfterFinished=0))
        await cluster.settle(50)
        assert cluster.exists(kinds.JOB, "short")
        await cluster.settle(20)
        short = cluster.api.one(kinds.JOB, "short")
        assert short is None or short["metadata"]["deletionTimestamp"]
        assert "deletionTimestamp" not in cluster.get(kinds.JOB, "long")["metadata"]
