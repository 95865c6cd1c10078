"""What every storage driver does, asked through its CSI services in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgek.csi import messages as csi
from edgek.csi.export import Export
from edgek.csi.hostpath import HostPath
from edgek.csi.nfs import Nfs
from edgek.csi.serve import Services
from edgek.host.rpc import RpcError
from tests.fakes.reach import Folder

MIB = 1 << 20
WRITER = {"mount": {}, "access_mode": {"mode": csi.SINGLE_NODE_WRITER}}

DRIVERS: dict[str, Callable[[Path], Services]] = {
    "hostpath": lambda folder: Services(HostPath.name, lambda: HostPath(folder / "root", "n1"), "n1"),
    "nfs": lambda folder: Services(Nfs.name, lambda: Nfs(Export("files", "/share"), Folder(folder / "root")), "n1"),
}


@pytest.fixture(params=DRIVERS)
async def services(request: pytest.FixtureRequest, tmp_path: Path) -> Services:
    return DRIVERS[request.param](tmp_path)


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def make(services: Services, name: str, mib: int = 1, **more: Any) -> Any:
    values = {"name": name, "capacity_range": {"required_bytes": mib * MIB}, "volume_capabilities": [WRITER], **more}
    return (await services.call(csi.CREATE_VOLUME, values, timeout_s=10))["volume"]


async def code_of(services: Services, method: Any, values: dict[str, Any]) -> str:
    with pytest.raises(RpcError) as caught:
        await services.call(method, values, timeout_s=10)
    return caught.value.code


async def test_the_same_name_is_the_same_volume_unless_it_is_to_differ(services: Services) -> None:
    first = await make(services, "one")
    assert await make(services, "one") == first
    bigger = {"name": "one", "capacity_range": {"required_bytes": 2 * MIB}, "volume_capabilities": [WRITER]}
    assert await code_of(services, csi.CREATE_VOLUME, bigger) == "ALREADY_EXISTS"


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc/passwd", ".edgek", "a b", "ü", "x" * 300, "v-1"])
async def test_any_name_makes_a_volume_and_deleting_its_id_deletes_just_that(services: Services, name: str) -> None:
    kept = await make(services, "kept")
    volume = await make(services, name)
    assert len(volume["volume_id"].rpartition("#")[2]) <= 128
    await services.call(csi.DELETE_VOLUME, {"volume_id": volume["volume_id"]}, timeout_s=10)
    left = await services.call(csi.LIST_VOLUMES, {}, timeout_s=10)
    assert [entry["volume"]["volume_id"] for entry in left["entries"]] == [kept["volume_id"]]


@pytest.mark.parametrize("id_", ["..", "../..", "/etc", "never-was", ".edgek", "kept/../kept"])
async def test_deleting_an_id_that_is_none_changes_nothing(services: Services, id_: str, tmp_path: Path) -> None:
    await make(services, "kept")
    before = everything_below(tmp_path)
    assert await services.call(csi.DELETE_VOLUME, {"volume_id": id_}, timeout_s=10) == {}
    assert everything_below(tmp_path) == before


async def test_volumes_grow_and_never_shrink(services: Services) -> None:
    id_ = (await make(services, "one", 4))["volume_id"]

    async def expand(mib: int) -> int:
        values = {"volume_id": id_, "capacity_range": {"required_bytes": mib * MIB}}
        return int((await services.call(csi.CONTROLLER_EXPAND_VOLUME, values, timeout_s=10))["capacity_bytes"]) // MIB

    assert [await expand(8), await expand(8), await expand(2)] == [8, 8, 8]
    too_small = {"volume_id": id_, "capacity_range": {"limit_bytes": MIB}}
    assert await code_of(services, csi.CONTROLLER_EXPAND_VOLUME, too_small) == "OUT_OF_RANGE"


async def test_pages_show_each_volume_once(services: Services) -> None:
    for number in range(5):
        await make(services, f"v{number}")
    seen, token = [], ""
    while True:
        page = await services.call(csi.LIST_VOLUMES, {"max_entries": 2, "starting_token": token}, timeout_s=10)
        seen += [entry["volume"]["volume_id"] for entry in page["entries"]]
        token = page["next_token"]
        if not token:
            break
    assert len(seen) == len(set(seen)) == 5


async def test_a_snapshot_outlives_its_volume_and_becomes_one(services: Services) -> None:
    id_ = (await make(services, "one", 2))["volume_id"]
    taken = (await services.call(csi.CREATE_SNAPSHOT, {"name": "s", "source_volume_id": id_}, timeout_s=10))["snapshot"]
    await services.call(csi.DELETE_VOLUME, {"volume_id": id_}, timeout_s=10)
    source = {"snapshot": {"snapshot_id": taken["snapshot_id"]}}
    restored = await make(services, "two", 2, volume_content_source=source)
    assert restored["content_source"]["snapshot"] == source["snapshot"]
    tight = {
        "name": "three", "capacity_range": {"limit_bytes": MIB}, "volume_capabilities": [WRITER], "volume_content_source": source,
    }  # fmt: skip
    assert await code_of(services, csi.CREATE_VOLUME, tight) == "OUT_OF_RANGE"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "INVALID_ARGUMENT"),
        ({"volume_capabilities": []}, "INVALID_ARGUMENT"),
        ({"volume_capabilities": [{"block": {}, "access_mode": {"mode": 1}}]}, "INVALID_ARGUMENT"),
        ({"volume_capabilities": [{"mount": {}}]}, "INVALID_ARGUMENT"),
        ({"parameters": {"colour": "blue"}}, "INVALID_ARGUMENT"),
        ({"capacity_range": {"required_bytes": 2, "limit_bytes": 1}}, "OUT_OF_RANGE"),
        ({"capacity_range": {"required_bytes": -1}}, "OUT_OF_RANGE"),
        ({"capacity_range": {"required_bytes": 1 << 62}}, "RESOURCE_EXHAUSTED"),
        ({"volume_content_source": {"volume": {"volume_id": "never-was"}}}, "NOT_FOUND"),
    ],
)
async def test_bad_requests_are_refused_by_their_codes_and_leave_nothing(services: Services, change: dict[str, Any], code: str) -> None:
    values = {"name": "one", "capacity_range": {"required_bytes": MIB}, "volume_capabilities": [WRITER], **change}
    assert await code_of(services, csi.CREATE_VOLUME, values) == code
    assert (await services.call(csi.LIST_VOLUMES, {}, timeout_s=10))["entries"] == []
