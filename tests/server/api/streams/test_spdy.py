import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.server.api.streams import spdy
from edgek.server.api.streams.spdy import Broken, Data, Decoder, Encoder, GoAway, Headers, Ping, Reset, SynReply, SynStream

# What kubectl 1.32 sends first to execute a command: it opens stream 1 with the header "streamtype: error".
FROM_KUBECTL = bytes.fromhex("80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff")

FRAMES = [
    SynStream(1, {"streamtype": "error"}),
    SynStream(3, {"streamtype": "data", "port": "80", "requestid": "0"}, fin=True),
    SynReply(1),
    Headers(3, {"a": "b\0c"}),
    Data(3, b"hello"),
    Data(3, b"", fin=True),
    Reset(3, spdy.CANCEL),
    Ping(7),
    GoAway(3),
]


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_a_frame_of_kubectl_is_understood() -> None:
    assert list(Decoder().feed(FROM_KUBECTL)) == [SynStream(1, {"streamtype": "error"})]


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=40))
def test_frames_come_out_as_they_went_in_however_they_are_cut(cuts: list[int]) -> None:
    encoder, decoder = Encoder(), Decoder()
    sent = b"".join(encoder.encode(frame) for frame in FRAMES)
    received = []
    for cut in cuts:
        received += decoder.feed(sent[:cut])
        sent = sent[cut:]
    received += decoder.feed(sent)
    assert joined(received) == FRAMES


def joined(frames: list[spdy.Frame]) -> list[spdy.Frame]:
    """Parts of data put together; a payload may come in parts."""
    found: list[spdy.Frame] = []
    for frame in frames:
        last = found[-1] if found else None
        if isinstance(frame, Data) and isinstance(last, Data) and not last.fin and frame.payload:
            found[-1] = Data(frame.stream, last.payload + frame.payload, frame.fin)
        else:
            found.append(frame)
    return found


def test_the_payload_of_a_long_frame_comes_in_parts_and_only_the_last_ends_the_stream() -> None:
    sent = Encoder().encode(Data(1, b"x" * 100, fin=True))
    decoder = Decoder()
    first, second = list(decoder.feed(sent[:50])), list(decoder.feed(sent[50:]))
    assert first == [Data(1, b"x" * 42)]
    assert second == [Data(1, b"x" * 58, fin=True)]


def test_window_updates_and_settings_mean_nothing_to_us() -> None:
    window_update = bytes.fromhex("80030009" + "00000008" + "00000001" + "00010000")
    settings = bytes.fromhex("80030004" + "00000004" + "00000000")
    assert list(Decoder().feed(window_update + settings + Encoder().encode(Ping(1)))) == [Ping(1)]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x80\x02\x00\x01" + bytes(4), id="another version"),
        pytest.param(b"\x80\x03\x00\x01\x00\xff\xff\xff", id="a control frame beyond the limit"),
        pytest.param(b"\x80\x03\x00\x06\x00\x00\x00\x01x", id="a ping that is too short"),
        pytest.param(b"\x80\x03\x00\x01\x00\x00\x00\x0e" + bytes(10) + b"junk", id="headers that are not compressed"),
    ],
)
def test_what_is_no_spdy_is_refused(sent: bytes) -> None:
    with pytest.raises(Broken):
        list(Decoder().feed(sent))


def test_headers_that_inflate_beyond_the_limit_are_refused() -> None:
    bomb = Encoder().encode(SynStream(1, {"a": "x" * (spdy.HEADERS_LIMIT + 1)}))
    assert len(bomb) < 5000
    with pytest.raises(Broken, match="headers of more than"):
        list(Decoder().feed(bomb))
