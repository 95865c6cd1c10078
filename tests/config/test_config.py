from pathlib import Path

import pytest

from edgek import config
from edgek.model.errors import UsageError


def load(tmp_path: Path, arguments=None, environment=None, text: str = "") -> config.Config:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return config.load(arguments or {}, environment or {}, file, "Box")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    text = "log-level: error\ncluster-domain: file.example\nhttps-listen-port: 1000\n"
    environment = {"EDGEK_LOG_LEVEL": "warning", "EDGEK_CLUSTER_DOMAIN": "environment.example"}
    found = load(tmp_path, {"log_level": "debug"}, environment, text)
    assert (found.log_level, found.cluster_domain, found.https_listen_port) == ("debug", "environment.example", 1000)


def test_the_first_node_uses_the_well_known_folders_and_one_beside_it_its_own(tmp_path):
    first, second = load(tmp_path), load(tmp_path, {"data_dir": "/srv/two"})
    assert (str(first.kubelet_dir), str(first.pod_logs_dir), first.cgroup_root) == ("/var/lib/kubelet", "/var/log/pods", "/")
    assert (str(second.kubelet_dir), str(second.pod_logs_dir), second.cgroup_root) == (
        "/srv/two/agent/kubelet",
        "/srv/two/agent/pod-logs",
        "/srv-two",
    )


def test_repeated_flags_and_lists_in_the_file_become_tuples(tmp_path):
    assert load(tmp_path, {"tls_san": ["a", "b"]}).tls_san == ("a", "b")
    assert load(tmp_path, text="node-label: [zone=a, disk=ssd]\n").node_label == (("zone", "a"), ("disk", "ssd"))


def test_how_long_a_silent_node_is_waited_for_is_said_as_k3s_users_say_it(tmp_path):
    found = load(tmp_path, {"node_monitor_grace_period": "1m30s"}, text="default-not-ready-toleration-seconds: 60\nregister-node: false\n")
    assert (found.node_monitor_grace_period, found.default_not_ready_toleration_seconds, found.register_node) == (90, 60, False)
    assert load(tmp_path).node_monitor_grace_period == 45, "a dead node is known within that"


def test_the_node_is_named_after_the_host_in_lower_case(tmp_path):
    assert load(tmp_path).node_name == "box"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"https_listen_port": "70000"}, "70000"),
        ({"node_ip": "somewhere"}, "somewhere"),
        ({"node_external_ip": ["home.example"]}, "home.example"),
        ({"cluster_dns": "10.9.0.1"}, "10.9.0.1"),
        ({"cluster_cidr": "10.43.0.0/17"}, "10.43.0.0/17"),
        ({"node_taint": ["a=b:Sometimes"]}, "a=b:Sometimes"),
        ({"node_taint": ["a b=c:NoSchedule"]}, "a b"),
        ({"node_taint": [":NoSchedule"]}, "no key"),
        ({"node_label": ["a=b=c"]}, "'b=c' is not"),
        ({"node_label": ["_=c"]}, "'_' is no key"),
        ({"node_label": ["node-role.kubernetes.io/worker=true"]}, "`edgek kubectl label node NAME node-role.kubernetes.io/worker=true`"),
        ({"node_ip": "2001:db8::1"}, "only IPv4"),
        ({"bind_address": "::"}, "only IPv4"),
        ({"log_level": "loud"}, "loud"),
        ({"node_monitor_grace_period": "40"}, "such as 45s"),
        ({"node_monitor_grace_period": "10s"}, "at least 15s"),
        ({"default_unreachable_toleration_seconds": "5m"}, "a whole number"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path, arguments, named):
    with pytest.raises(UsageError, match=named):
        load(tmp_path, arguments)


@pytest.mark.parametrize(
    ("text", "named"),
    [("docker: true", "docker"), ("flannel-backend: ipsec", "vxlan, host-gw or none"), ("colour: red", "colour"), ("- a", "list"), ("a: [", "YAML")],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(UsageError, match=named):
        load(tmp_path, text=text)


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml"):
        config.load({}, {}, tmp_path / "none.yaml", "box")


def test_a_token_file_without_a_token_is_refused_by_name(tmp_path):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(UsageError, match=r"--token-file .*token is empty"):
        config.given_token(load(tmp_path, {"token_file": str(tmp_path / "token")}))
