"""``edgek status``: the node, its pods and Services, health, and what edgek costs, at a glance.

``gather`` makes a plain dict of it, which ``-o json`` prints as it is and ``show`` draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from edgek.cli import access, costs, member, options
from edgek.client.client import Client
from edgek.client.transport import Disconnected, Request, Transport
from edgek.config import Config
from edgek.model import errors, kinds, objects, quantity, requests
from edgek.model.conditions import SOME_PEERS_UNREACHABLE
from edgek.model.objects import Object

if TYPE_CHECKING:
    from rich.console import Group

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
    if member.is_here(config):
        return await _say(lambda: member.gather(config), member.show, output, watch)
    client, transport = access.admin(config)
    return await _say(lambda: gather(config, client, transport), show, output, watch)


async def _say(look: Callable[[], Awaitable[dict[str, Any]]], draw: Callable[[dict[str, Any]], Group], output: str, watch: bool) -> int:
    if output == "json":
        while True:
            found = await look()
            print(json.dumps(found, indent=None if watch else 2), flush=True)
            if not watch:
                return _code(found)
            await trio.sleep(WATCH_S)
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not watch:
        found = await look()
        console.print(draw(found), crop=False)  # a line that says what is wrong is whole, wherever it is read
        return _code(found)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(draw(await look()), refresh=True)
            await trio.sleep(WATCH_S)


def _code(found: dict[str, Any]) -> int:
    return 1 if found.get("problem") else 0


async def gather(config: Config, client: Client, transport: Transport) -> dict[str, Any]:
    """Raises Disconnected, ApiError."""
    cost = await costs.gather(config)
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
    shown = status.get("conditions") or ()
    conditions = {c["type"]: c["status"] for c in shown}
    return {
        "name": objects.name(node),
        "ready": conditions.get("Ready") == "True",
        "schedulable": not (node.get("spec") or {}).get("unschedulable"),
        "trouble": sorted(name for name, value in conditions.items() if name != "Ready" and value == "True"),
        "why": [str(c.get("message") or c.get("reason") or c["type"]) for c in shown if _is_trouble(c)],
        "address": next((a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"), ""),
        "runtime": (status.get("nodeInfo") or {}).get("containerRuntimeVersion", ""),
        "pods": len(here),
        "requested": {name: amount / allocatable[name] if allocatable.get(name) else 0.0 for name, amount in taken.items()},
        "memoryBytes": allocatable.get("memory", 0) // quantity.NANO,
    }


def _is_trouble(condition: Object) -> bool:
    """Also of a condition that does not hold, where its reason says that something is amiss."""
    if condition["type"] == "Ready":
        return bool(condition["status"] != "True")
    return bool(condition["status"] == "True" or condition.get("reason") == SOME_PEERS_UNREACHABLE)


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
    parts += [nodes, *(Text(f"{node['name']}: {why}", style="yellow") for node in found["nodes"] for why in node["why"])]
    parts += ["", Text.from_markup(f"[bold]Pods[/]: {states}")]
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
    return Group(*parts, costs.table(found["cost"]))


def _table(table: Any, *columns: str) -> Any:
    made = table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


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
