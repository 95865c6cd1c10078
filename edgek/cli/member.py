"""``edgek status`` where no server is: how the node on this machine stands in its cluster, by what its agent keeps and the API tells a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgek.cli import costs
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.transport import Disconnected
from edgek.config import Config
from edgek.model import errors, kinds, objects
from edgek.model.conditions import NETWORK_UNAVAILABLE
from edgek.model.errors import UsageError
from edgek.model.objects import Object

if TYPE_CHECKING:
    from rich.console import Group

    from edgek.agent.membership import Membership


def is_here(config: Config) -> bool:
    """Whether this machine is, or is about to be, a node of a cluster elsewhere."""
    return not config.server_dir.exists() and (config.agent_dir.exists() or bool(config.join))


async def gather(config: Config) -> dict[str, Any]:
    """``problem`` is empty where all is well."""
    from edgek.agent import join

    cost = await costs.gather(config)
    found: dict[str, Any] = {"node": "", "server": config.join, "pods": {}, "problem": "", "cost": cost}
    try:
        membership = join.kept(config)
    except PermissionError:
        raise UsageError(f"{config.agent_dir} is root's; try with sudo") from None
    running = any(part["part"] == "edgek" for part in cost)
    if running and config.refusal_file.exists():  # what the API says of the node may be about another machine
        name = membership.config.node_name if membership else ""
        return {**found, "node": name, "problem": f"the server takes no link: {config.refusal_file.read_text()}"}
    if membership is None:
        return {**found, "problem": "it has not joined yet" if running else "edgek does not run, and has not joined yet"}
    found["node"], found["server"] = membership.config.node_name, f"https://{membership.choice.current}"
    if not running:
        return {**found, "problem": "edgek does not run"}
    return {**found, **await _asked(membership)}


async def _asked(membership: Membership) -> dict[str, Any]:
    name = membership.config.node_name
    transport = HttpsTransport(membership.choice)
    client = Client(transport, "edgek")
    try:
        node = await client.find(kinds.NODE, name)
        pods = (await client.list(kinds.POD, fields=f"spec.nodeName={name}")).items
    except Disconnected as exc:
        return {"problem": f"the server cannot be asked, the node goes on by itself: {exc}"}
    except errors.ApiError as exc:
        return {"problem": f"the server refuses to say: {exc}"}
    finally:
        transport.close()
    return {"problem": _problem(node), "pods": _states(pods)}


def _problem(node: Object | None) -> str:
    if node is None:
        return "it has joined, and is not registered yet"
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready":
            if condition["status"] != "True":
                return f"it is not Ready: {condition.get('message') or condition.get('reason')}"
            network = objects.condition(node, NETWORK_UNAVAILABLE) or {}
            return str(network.get("message") or network.get("reason")) if network.get("status") == "True" else ""
    return "it is registered, and not Ready yet"


def _states(pods: Sequence[Object]) -> dict[str, int]:
    states: dict[str, int] = {}
    for pod in pods:
        phase = str((pod.get("status") or {}).get("phase") or "Unknown")
        phase = "NotReady" if phase == "Running" and not objects.condition_is(pod, "Ready") else phase
        states[phase] = states.get(phase, 0) + 1
    return dict(sorted(states.items()))


def show(found: dict[str, Any]) -> Group:
    """The first line says all that a script needs."""
    from rich.console import Group
    from rich.text import Text

    name = f"Node {found['node']}" if found["node"] else "This machine"
    of = f" of {found['server']}" if found["server"] else ""
    head = Text(f"{name}{of}: ", overflow="ignore", no_wrap=True)  # one line, for scripts
    head.append(*((found["problem"], "red") if found["problem"] else ("it is Ready", "green")))
    states = ", ".join(f"{count} {state}" for state, count in found["pods"].items()) or "none that is known"
    return Group(head, "", Text.from_markup(f"[bold]Pods[/]: {states}"), "", costs.table(found["cost"]))
