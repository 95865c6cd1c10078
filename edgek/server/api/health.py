"""Pages beside the API: health, version, the list of paths, metrics."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping

import attrs

from edgek import __version__
from edgek.client.transport import Request, Response
from edgek.server.api import responses

KUBERNETES_VERSION = "v1.36.4+edgek1"
MAJOR, MINOR = "1", "36"

Check = Callable[[], str]  # what is wrong, or an empty string

PATHS = ("/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3")
MORE_PATHS = ("/openid/v1/jwks", "/readyz", "/version")


def version() -> Response:
    """Majors and minors are plain numbers: tests insist."""
    machine = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(platform.machine(), platform.machine())
    return responses.json(
        200,
        {
            "major": MAJOR,
            "minor": MINOR,
            "emulationMajor": MAJOR,
            "emulationMinor": MINOR,
            "minCompatibilityMajor": MAJOR,
            "minCompatibilityMinor": str(int(MINOR) - 1),
            "gitVersion": KUBERNETES_VERSION,
            "gitCommit": __version__,
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": f"python{platform.python_version()}",
            "compiler": sys.implementation.name,
            "platform": f"linux/{machine}",
        },
    )


@attrs.define
class Metrics:
    """Counted by the request border. Small on purpose: one number per verb and code, not one per path."""

    requests: dict[tuple[str, int], int] = attrs.field(factory=dict)
    started: float = attrs.field(factory=time.monotonic)

    def count(self, verb: str, code: int) -> None:
        key = (verb, code)
        self.requests[key] = self.requests.get(key, 0) + 1

    def page(self) -> Response:
        lines = ["# HELP apiserver_request_total Counter of apiserver requests.", "# TYPE apiserver_request_total counter"]
        lines += [f'apiserver_request_total{{code="{code}",verb="{verb}"}} {count}' for (verb, code), count in sorted(self.requests.items())]
        lines += ["# TYPE process_cpu_seconds_total counter", f"process_cpu_seconds_total {time.process_time():.2f}"]
        return responses.text(200, "\n".join(lines) + "\n", "text/plain; version=0.0.4; charset=utf-8")


class Health:
    """``checks`` say what is wrong with a part; a part that is not ready fails /readyz alone."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._checks = {"healthz": live, "livez": live, "readyz": {**live, **ready}}

    def respond(self, request: Request) -> Response | None:
        page, _, one = request.path.strip("/").partition("/")
        checks = self._checks.get(page)
        if checks is None:
            return None
        if one:
            return self._one(checks.get(one))
        left_out = {value for key, value in request.query if key == "exclude"}
        found = {name: check() for name, check in checks.items() if name not in left_out}
        if not any(found.values()) and not any(key == "verbose" for key, _ in request.query):
            return responses.text(200, "ok")
        return _listed(page, found)

    def _one(self, check: Check | None) -> Response:
        if check is None:
            return responses.text(404, "404 page not found\n")
        problem = check()
        return responses.text(500, f"internal server error: {problem}\n") if problem else responses.text(200, "ok")


def _listed(page: str, found: Mapping[str, str]) -> Response:
    lines = [f"[-]{name} failed: reason withheld" if problem else f"[+]{name} ok" for name, problem in found.items()]
    failed = any(found.values())
    lines.append(f"{page} check {'failed' if failed else 'passed'}")
    return responses.text(500 if failed else 200, "\n".join(lines) + "\n")


def paths(groups: Mapping[str, tuple[str, ...]]) -> Response:
    """``/``: every path there is."""
    below = [f"/apis/{group}" for group in groups] + [f"/apis/{group}/{each}" for group, versions in groups.items() for each in versions]
    return responses.json(200, {"paths": sorted([*PATHS, *below, *MORE_PATHS])})
