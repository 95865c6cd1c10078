"""``edgek status``: the node, its pods and Services, health, and what edgek costs, at a glance.

``gather`` makes a plain dict of it, which ``-o json`` prints as it is and ``show`` draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from edgek.cli import access, options
from edgek.client.client import Client
from edgek.client.transport import Disconnected, Request, Transport
from edgek.config import Config
from edgek.host import usage
from edgek.model import errors, kinds, objects, quantity, requests
from edgek.model.objects import Object

if TYPE_CHECKING:
    from rich.console import Group

SAMPLE_S = 1.0  # over which CPU and writing are measured
WATCH_S = 3.0
TROUBLED_MOST = 20  # pods listed by name; further ones are counted
SERVICES_MOST = 20


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek status", description="Show the node, its pods and Services, and what edgek costs.")
    options.add(parser, access.OPTIONS)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--watch", "-w", action="store_true", help=f"look again every {WATCH_S:g} seconds")
    found = options.parse(parser, arguments)
    config = options.configure(found)
    try:
        return trio.run(_run, config, found.output, found.watch)
    except (Disconnected, errors.ApiError) as exc:
        print(f"edgek status: the server does not answer: {exc}\nIs it running? Its log says why not.", file=sys.stderr)
        return 1


async def _run(config: Config, output: str, watch: bool) -> int:
    client, transport = access.admin(config)
    if output == "json":
        while True:
            print(json.dumps(await gather(config, client, transport), indent=None if watch else 2), flush=True)
            if not watch:
                return 0
            await trio.sleep(WATCH_S)
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not watch:
        console.print(show(await gather(config, client, transport)))
        return 0
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(show(await gather(config, client, transport)), refresh=True)
            await trio.sleep(WATCH_S)


async def gather(config: Config, client: Client, transport: Transport) -> dict[str, Any]:
    """Raises Disconnected, ApiError."""
    cost = await costs(config)
    ready = await transport.request(Request("GET", "/readyz"))
    version = await transport.request(Request("GET", "/version"))
    pods = list((await client.list(kinds.POD)).items)
    nodes = (await client.list(kinds.NODE)).items
    slices = (await client.list(kinds.ENDPOINT_SLICE)).items
    return {
        "healthy": ready.status == 200,
        "version": json.loads(version.body).get("gitVersion", ""),
        "nodes": [node_summary(node, pods) for node in nodes],
        "pods": pod_summary(pods),
        "services": [service_summary(service, slices) for service in (await client.list(kinds.SERVICE)).items],
        "cost": cost,
    }


def node_summary(node: Object, pods: Iterable[Object]) -> dict[str, Any]:
    """``requested`` are shares of what is allocatable, 0 to 1."""
    status = node.get("status") or {}
    allocatable = requests.parsed(status.get("allocatable"))
    taken = {"cpu": 0, "memory": 0}
    here = [pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == objects.name(node)]
    for pod in here:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            for name, amount in requests.of_pod(pod["spec"]).items():
                if name in taken:
                    taken[name] += amount
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return {
        "name": objects.name(node),
        "ready": conditions.get("Ready") == "True",
        "schedulable": not (node.get("spec") or {}).get("unschedulable"),
        "trouble": sorted(name for name, value in conditions.items() if name != "Ready" and value == "True"),
        "address": next((a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"), ""),
        "runtime": (status.get("nodeInfo") or {}).get("containerRuntimeVersion", ""),
        "pods": len(here),
        "requested": {name: amount / allocatable[name] if allocatable.get(name) else 0.0 for name, amount in taken.items()},
        "memoryBytes": allocatable.get("memory", 0) // quantity.NANO,
    }


def pod_summary(pods: Iterable[Object]) -> dict[str, Any]:
    """How many in which state, and those that are not as they should be."""
    states: dict[str, int] = {}
    troubled = []
    for pod in pods:
        state = _state(pod)
        states[state] = states.get(state, 0) + 1
        if state not in ("Running", "Succeeded"):
            troubled.append({"pod": objects.key(pod), "state": state, "why": _why(pod)})
    return {"states": dict(sorted(states.items())), "troubled": troubled}


def service_summary(service: Object, slices: Iterable[Object]) -> dict[str, Any]:
    spec = service.get("spec") or {}
    key = objects.key(service)
    mine = [s for s in slices if f"{objects.namespace(s)}/{objects.labels(s).get('kubernetes.io/service-name')}" == key]
    endpoints = [e for s in mine for e in s.get("endpoints") or () if (e.get("conditions") or {}).get("ready") is not False]
    return {
        "service": key,
        "type": spec.get("type", "ClusterIP"),
        "address": spec.get("clusterIP") or spec.get("externalName") or "",
        "ports": [f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ()],
        "endpoints": len(endpoints),
    }


async def costs(config: Config) -> list[dict[str, Any]]:
    """What edgek, containerd and the shims of its pods cost; CPU (share of a core) and writing (bytes per second) over ``SAMPLE_S``."""
    parts = {"edgek": _pids(config.run_dir / "edgek.pid"), "containerd": _pids(config.run_dir / "containerd.pid"), "shims": _shims(config)}
    before = {pid: cost for pids in parts.values() for pid in pids if (cost := _cost(pid))}
    await trio.sleep(SAMPLE_S)
    found = []
    for name, pids in parts.items():
        now = {pid: cost for pid in pids if pid in before and (cost := _cost(pid))}
        if now:
            found.append(
                {
                    "part": name,
                    "processes": len(now),
                    "residentBytes": sum(cost.resident_bytes for cost in now.values()),
                    "anonymousBytes": sum(cost.anonymous_bytes for cost in now.values()),
                    "cpu": round(sum(cost.cpu_s - before[pid].cpu_s for pid, cost in now.items()) / SAMPLE_S, 4),
                    "writtenPerSecond": round(sum(cost.written_bytes - before[pid].written_bytes for pid, cost in now.items()) / SAMPLE_S),
                    "writtenBytes": sum(cost.written_bytes for cost in now.values()),
                }
            )
    return found


def show(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    health = "[green]healthy[/]" if found["healthy"] else "[red]not healthy[/]"
    parts: list[Any] = [Text.from_markup(f"[bold]edgek[/] {found['version']}, the API is {health}"), ""]
    nodes = _table(Table, "NODE", "STATE", "ADDRESS", "PODS", "CPU ASKED", "MEMORY ASKED", "RUNTIME")
    for node in found["nodes"]:
        state = ("[green]Ready[/]" if node["ready"] else "[red]NotReady[/]") + ("" if node["schedulable"] else ",SchedulingDisabled")
        state += "".join(f" [red]{name}[/]" for name in node["trouble"])
        asked = [f"{node['requested'][name]:.0%}" for name in ("cpu", "memory")]
        nodes.add_row(node["name"], state, node["address"], str(node["pods"]), *asked, node["runtime"])
    states = ", ".join(f"{count} {state}" for state, count in found["pods"]["states"].items()) or "none"
    parts += [nodes, "", Text.from_markup(f"[bold]Pods[/]: {states}")]
    troubled = found["pods"]["troubled"]
    if troubled:
        table = _table(Table, "POD", "STATE", "WHY")
        for entry in troubled[:TROUBLED_MOST]:
            table.add_row(entry["pod"], f"[yellow]{entry['state']}[/]", entry["why"])
        parts += [table, *([f"and {len(troubled) - TROUBLED_MOST} more"] if len(troubled) > TROUBLED_MOST else [])]
    services = _table(Table, "SERVICE", "TYPE", "ADDRESS", "PORTS", "ENDPOINTS")
    for entry in found["services"][:SERVICES_MOST]:
        services.add_row(entry["service"], entry["type"], entry["address"], ",".join(entry["ports"]), str(entry["endpoints"]))
    more = len(found["services"]) - SERVICES_MOST
    parts += ["", services, *([f"and {more} more"] if more > 0 else []), ""]
    cost = _table(Table, "COST", "MEMORY", "OF IT ITS OWN", "CPU", "WRITES", "WRITTEN SINCE START")
    for entry in found["cost"]:
        name = entry["part"] if entry["processes"] == 1 else f"{entry['processes']} {entry['part']}"
        memory = [_megabytes(entry["residentBytes"]), _megabytes(entry["anonymousBytes"])]
        cost.add_row(name, *memory, f"{entry['cpu']:.1%}", f"{entry['writtenPerSecond'] / 1000:.1f} kB/s", _megabytes(entry["writtenBytes"]))
    return Group(*parts, cost)


def _table(table: Any, *columns: str) -> Any:
    made = table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _state(pod: Object) -> str:
    status = pod.get("status") or {}
    if objects.is_deleting(pod):
        return "Terminating"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in ("PodInitializing", "ContainerCreating"):
            return str(waiting["reason"])
    phase = str(status.get("reason") or status.get("phase") or "Unknown")
    return "NotReady" if phase == "Running" and not objects.condition_is(pod, "Ready") else phase


def _why(pod: Object) -> str:
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        for state in (container.get("state") or {}).values():
            if state.get("message"):
                return str(state["message"])
    blamed: Object = next((c for c in status.get("conditions") or () if c.get("status") == "False" and c.get("message")), {})
    return str(status.get("message") or blamed.get("message") or "")


def _pids(file: Path) -> list[int]:
    try:
        return [int(file.read_text().split()[0])]
    except (OSError, ValueError, IndexError):
        return []


def _shims(config: Config) -> list[int]:
    """Shims of our containerd: they name its socket."""
    wanted = str(config.runtime_socket).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"containerd-shim" in words[0] and wanted in words:
            found.append(int(folder.name))
    return found


def _cost(pid: int) -> usage.Cost | None:
    try:
        return usage.of_process(pid)
    except (ProcessLookupError, PermissionError):
        return None
