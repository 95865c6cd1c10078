import pytest

from edgek.server.api.streams.channels import BY_NAME, DIALECTS, STDERR, STDOUT, Dialect


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name or "no name")
def test_what_is_said_on_a_channel_is_heard_on_it(dialect: Dialect) -> None:
    for channel in (STDOUT, STDERR):
        for payload in (b"", b"hello", bytes(range(256))):
            assert dialect.decode(dialect.encode(channel, payload)) == (channel, payload)


def test_a_message_begins_with_the_number_of_its_channel() -> None:
    assert BY_NAME["v4.channel.k8s.io"].encode(1, b"hi") == b"\x01hi"
    assert BY_NAME["v4.base64.channel.k8s.io"].encode(1, b"hi") == b"1aGk="


@pytest.mark.parametrize("message", [b"", b"xaGk=", b"1***"], ids=["nothing", "no channel", "no base64"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        BY_NAME["base64.channel.k8s.io"].decode(message)
