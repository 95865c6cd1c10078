"""Caches of Services and their endpoints, filled without an API server, for what reads them: DNS and the proxy."""

from __future__ import annotations

from typing import Any

import attrs

from edgek.client import services
from edgek.client.informer import Informer
from edgek.client.services import Service, Slice
from edgek.model import kinds


@attrs.frozen
class Caches:
    services: Informer[Service] = attrs.field(factory=lambda: Informer(None, kinds.SERVICE, services.service))  # type: ignore[arg-type]
    slices: Informer[Slice] = attrs.field(factory=lambda: Informer(None, kinds.ENDPOINT_SLICE, services.slice_))  # type: ignore[arg-type]

    def fill(self, count: int) -> None:
        """Services ``web-0`` to ``web-<count - 1>``, each with two endpoints; both caches are synced then."""
        for number in range(count):
            meta = {"name": f"web-{number}", "namespace": "default"}
            spec = {"clusterIP": f"10.43.{number // 250}.{number % 250 + 1}", "ports": [{"name": "http", "port": 80}]}
            self.services._set(f"default/web-{number}", services.service({"metadata": meta, "spec": spec}))
            self.endpoints(number, ready=True)
        self.services.synced.set()
        self.slices.synced.set()

    def endpoints(self, number: int, *, ready: bool) -> None:
        """Two endpoints, of which the second is as ``ready`` says."""
        ours = (f"10.42.{number // 250}.{number % 250 + 1}", f"10.42.{100 + number // 250}.{number % 250 + 1}")
        listed: list[dict[str, Any]] = [{"addresses": [ours[0]]}, {"addresses": [ours[1]], "conditions": {"ready": ready}}]
        meta = {"name": f"web-{number}-x", "namespace": "default", "labels": {services.SERVICE_NAME: f"web-{number}"}}
        slice_ = {"metadata": meta, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": listed}
        self.slices._set(f"default/web-{number}-x", services.slice_(slice_))
