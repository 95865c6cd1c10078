"""A request and its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edgek.client.transport import lines_of


@pytest.mark.parametrize("chunks", [(b"a\nbc\n",), (b"a", b"\nb", b"c\n"), (b"a\n", b"", b"bc")])
async def test_events_are_whole_whichever_way_they_were_cut(chunks: tuple[bytes, ...]) -> None:
    async def cut() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    assert [line async for line in lines_of(cut())] == [b"a", b"bc"]
