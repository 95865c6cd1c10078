"""Programs for nftables, made of elements: the whole table, or the difference that a change makes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from edgek.agent.proxy.rules import CHAIN, MASQUERADE, TABLE, Element

TUNNEL = "flannel.1"  # what goes in there must come from the pod network, or its answer comes back by another way than the tunnel
BATCH = 500  # elements in one command: the parser is slower with longer lists
AFFINITY_MOST = 65535  # clients remembered

_PLACE = "ip daddr . meta l4proto . th dport"
_PORT = "meta l4proto . th dport"

# name: what it is
MAPS: dict[str, str] = {
    "services": "map services { type ipv4_addr . inet_proto . inet_service : verdict; }",
    "node_ports": "map node_ports { type inet_proto . inet_service : verdict; }",
    "endpoints": "map endpoints { type ipv4_addr . inet_proto . inet_service . classid : ipv4_addr . inet_service; }",
    "node_endpoints": "map node_endpoints { type inet_proto . inet_service . classid : ipv4_addr . inet_service; }",
    "affine_endpoints": "map affine_endpoints { type ipv4_addr . inet_proto . inet_service . classid : ipv4_addr . inet_service; }",
    "affine_node_endpoints": "map affine_node_endpoints { type inet_proto . inet_service . classid : ipv4_addr . inet_service; }",
    "host_ports": "map host_ports { type inet_proto . inet_service : ipv4_addr . inet_service; }",
    "address_host_ports": "map address_host_ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }",
    "no_endpoints": "set no_endpoints { type ipv4_addr . inet_proto . inet_service; }",
    "no_node_endpoints": "set no_node_endpoints { type inet_proto . inet_service; }",
    "hairpin": "set hairpin { type ipv4_addr . ipv4_addr; }",
}

_MEMORY = f"size {AFFINITY_MOST}; flags dynamic,timeout; timeout 3h;"

# Everything hangs on address translation, which only the first packet of a connection meets: a chain of filters would cost every packet of every pod,
# 5 % of the throughput across nodes each. So refusing is done there too, where the kernel can (5.9 and later). The first rule of ``prerouting`` is
# for nodes whose pods' interfaces may carry loopback addresses (host ports on 127.0.0.1): nobody else may use that.
_STATIC = f"""
map affinity {{ typeof ip saddr . {_PLACE} : meta priority; {_MEMORY} }}
map node_affinity {{ typeof ip saddr . {_PORT} : meta priority; {_MEMORY} }}
chain local {{
    ip daddr != 127.0.0.0/8 {_PORT} vmap @node_ports;
    dnat ip to {_PLACE} map @address_host_ports;
    dnat ip to {_PORT} map @host_ports;
}}
chain refuse {{
    {_PLACE} @no_endpoints meta l4proto tcp reject with tcp reset;
    {_PLACE} @no_endpoints reject;
    fib daddr type local {_PORT} @no_node_endpoints meta l4proto tcp reject with tcp reset;
    fib daddr type local {_PORT} @no_node_endpoints reject;
}}
chain dispatch {{
    {_PLACE} vmap @services;
    REFUSE
    fib daddr type local jump local;
}}
chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; iifname != "lo" ip daddr 127.0.0.0/8 drop; jump dispatch; }}
chain output {{ type nat hook output priority -100; policy accept; jump dispatch; }}
chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MASQUERADE:#x} == {MASQUERADE:#x} masquerade fully-random;
    ip saddr . ip daddr @hairpin ct status dnat masquerade fully-random;
    ip saddr 127.0.0.0/8 ct status dnat masquerade fully-random;
    ip saddr CLUSTER ip daddr != {{ CLUSTER, 224.0.0.0/4 }} masquerade fully-random;
    ip saddr != CLUSTER oifname "{TUNNEL}" masquerade fully-random;
}}
"""


_FILTERS = """
chain refuse-input { type filter hook input priority filter; policy accept; ct state new jump refuse; }
chain refuse-forward { type filter hook forward priority filter; policy accept; ct state new jump refuse; }
chain refuse-output { type filter hook output priority filter; policy accept; ct state new jump refuse; }
"""


def whole(elements: Iterable[Element], cluster_cidr: str, *, filters: bool = False) -> str:
    """Replace our table, whatever it held, by one with these elements: one transaction.

    ``filters`` is for kernels before 5.9, which cannot refuse where they translate.
    """
    found = _by_map(elements)
    chains = "\n".join(f"chain {name} {{ {body} }}" for name, body in found.pop(CHAIN, []))
    static = _STATIC.replace("CLUSTER", cluster_cidr).replace("REFUSE", "" if filters else "jump refuse;") + (_FILTERS if filters else "")
    # Chains before the maps that jump to them: a verdict names a chain that must be there.
    declared = "\n".join((*MAPS.values(), static, chains))
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{declared}\n}}\n" + "".join(_added(found))


def difference(removed: Iterable[Element], added: Iterable[Element]) -> str:
    """Take some elements away and put others there: one transaction. A changed value is both."""
    gone, new = _by_map(removed), _by_map(added)
    old_chains, new_chains = gone.pop(CHAIN, []), new.pop(CHAIN, [])
    lines = [f"add chain {TABLE} {name} {{ {body} }}\n" for name, body in new_chains]
    for name, entries in gone.items():
        lines += [f"delete element {TABLE} {name} {{ {keys} }}\n" for keys in _joined(key for key, _ in entries)]
    lines += _added(new)
    lines += [f"delete chain {TABLE} {name}\n" for name, _ in old_chains]
    return "".join(lines)


def nothing() -> str:
    """Take the table away, if it is there."""
    return f"table {TABLE}\ndelete table {TABLE}\n"


def _by_map(elements: Iterable[Element]) -> dict[str, list[tuple[str, str]]]:
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, key, value in elements:
        found[name].append((key, value))
    return found


def _added(by_map: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    for name, entries in by_map.items():
        for listed in _joined(f"{key} : {value}" if value else key for key, value in entries):
            yield f"add element {TABLE} {name} {{ {listed} }}\n"


def _joined(items: Iterable[str]) -> Iterator[str]:
    listed = list(items)
    for start in range(0, len(listed), BATCH):
        yield ", ".join(listed[start : start + BATCH])
