from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgek.agent.runtime import containerd_config

SETTINGS = containerd_config.Settings(
    root=Path("/d/root"), state=Path("/r/state"), socket=Path("/r/c.sock"), cni_bin=Path("/d/bin"), cni_conf=Path("/d/net.d"),
    certs_dir=Path("/d/certs.d"), pause_image="edgek.local/pause:1", restrict_oom_score_adj=True, runtimes={"crun": Path("/usr/bin/crun")},
)  # fmt: skip


def rendered(*version: int) -> dict[str, Any]:
    return tomllib.loads(containerd_config.render(SETTINGS, (version[0], version[1])))


def test_for_1_6_all_is_in_the_one_cri_plugin() -> None:
    config = rendered(1, 6)
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert (config["version"], config["root"], config["grpc"]["address"]) == (2, "/d/root", "/r/c.sock")
    assert cri["sandbox_image"] == "edgek.local/pause:1"
    assert cri["restrict_oom_score_adj"] is True
    assert cri["cni"] == {"bin_dir": "/d/bin", "conf_dir": "/d/net.d", "max_conf_num": 1}
    assert cri["registry"] == {"config_path": "/d/certs.d"}
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}
    assert cri["containerd"]["runtimes"]["crun"]["options"]["BinaryName"] == "/usr/bin/crun"


def test_for_2_x_images_and_runtime_are_plugins_of_their_own() -> None:
    config = rendered(2, 0)
    runtime, images = config["plugins"]["io.containerd.cri.v1.runtime"], config["plugins"]["io.containerd.cri.v1.images"]
    assert config["version"] == 3
    assert runtime["cni"]["bin_dir"] == "/d/bin"
    assert runtime["containerd"]["default_runtime_name"] == "runc"
    assert images["pinned_images"] == {"sandbox": "edgek.local/pause:1"}
    assert images["registry"] == {"config_path": "/d/certs.d"}


def test_from_2_1_on_the_plugin_folder_is_a_list() -> None:
    assert rendered(2, 1)["plugins"]["io.containerd.cri.v1.runtime"]["cni"]["bin_dirs"] == ["/d/bin"]


@pytest.mark.parametrize(("capabilities", "may"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_lowering_oom_scores_takes_a_capability(capabilities: str, may: bool) -> None:
    assert containerd_config.may_lower_oom_scores(f"Name:\tx\nCapEff:\t{capabilities}\n") is may


def test_containerd_is_the_last_to_go_where_that_may_be_said() -> None:
    free = containerd_config.Settings(**{**_values(), "restrict_oom_score_adj": False})
    assert tomllib.loads(containerd_config.render(free, (1, 6)))["oom_score"] == -999
    assert rendered(1, 6)["oom_score"] == 0


def test_paths_are_quoted_for_toml() -> None:
    strange = Path('/a "b" \\c')
    config = containerd_config.render(containerd_config.Settings(**{**_values(), "root": strange}), (1, 6))
    assert tomllib.loads(config)["root"] == str(strange)


def _values() -> dict[str, Any]:
    names = ("root", "state", "socket", "cni_bin", "cni_conf", "certs_dir", "pause_image")
    return {name: getattr(SETTINGS, name) for name in names}
