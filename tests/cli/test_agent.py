"""What ``edgek agent`` is told on its command line."""

from __future__ import annotations

import pytest

from edgek.cli import agent
from edgek.model.errors import UsageError


@pytest.mark.parametrize("words", [["--flannel-backend", "foo"], ["--flannel-backend=host-gw"], ["--cluster-cidr", "10.9.0.0/16"]])
def test_a_flag_of_the_server_is_refused_by_its_name_and_place(words: list[str]) -> None:
    with pytest.raises(UsageError, match="is a flag of `edgek server`"):
        agent.main(words)


def test_the_word_of_k3s_for_the_server_is_understood() -> None:
    assert [agent.ours(word) for word in ("--server", "--server=https://a:6443", "--service")] == ["--join", "--join=https://a:6443", "--service"]
