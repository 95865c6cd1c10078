"""Whether packets get through to the other nodes' pods.

Other nodes are asked when they or the uplink changed, and then, ever more seldom, those that did not answer; while all is well nothing is sent. What
breaks without a word, a firewall somewhere between, is told by the tunnel itself: much goes in and nothing comes out.

How it is asked is the caller's: this decides only whom, and what to make of the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence

import attrs
import trio

from edgek.cni.backend import Here, Peer

TRIES = 4  # without an answer before a node is silent: a link may lose one packet of ten, and who has joined is not known to all at once
SILENT_AT_ONCE = 8  # nodes known to be out of reach that are asked in one round: 200 of them must not fill the link
DOUBTFUL_PACKETS = 3  # into the tunnel within that time, and none out of it


@attrs.frozen
class Pace:
    """``answer_s`` is how long one is waited for; the tunnel's counters are read every ``watched_s``."""

    answer_s: float = 2.0
    pause_first_s: float = 1.0
    pause_most_s: float = 60.0
    watched_s: float = 60.0


@attrs.frozen
class Traffic:
    """Packets that a link has sent and received since it was made."""

    sent: int
    received: int


@attrs.frozen
class Verdict:
    """``silent`` are nodes that are out of reach; ``reached`` says whether any other is not."""

    reached: bool = False
    silent: tuple[Peer, ...] = ()

    @property
    def cut_off(self) -> bool:
        return bool(self.silent) and not self.reached


Ask = Callable[[Here, Sequence[Peer]], Awaitable[Collection[Peer]]]
Count = Callable[[], Awaitable[Traffic | None]]


class Reach:
    """``ask`` returns those who answered, within a time of its own; ``changed`` is called when ``verdict`` is another one, which is None at first."""

    def __init__(self, ask: Ask, count: Count, changed: Callable[[], None], pace: Pace | None = None) -> None:
        self.verdict: Verdict | None = None
        self._ask = ask
        self._count = count
        self._changed = changed
        self._pace = pace or Pace()
        self._here: Here | None = None
        self._peers: tuple[Peer, ...] = ()
        self._answered: set[Peer] = set()
        self._asked: Counter[Peer] = Counter()
        self._news = trio.Event()

    def consider(self, here: Here, peers: Sequence[Peer]) -> None:
        """These should be reached from here. May be called at any time; nothing happens where nothing changed."""
        if (here, tuple(peers)) == (self._here, self._peers):
            return
        if here != self._here:
            self._forget()
        self._here, self._peers = here, tuple(peers)
        self._answered &= set(peers)
        self._asked = Counter({peer: times for peer, times in self._asked.items() if peer in peers})
        self._news.set()

    def away(self) -> None:
        """Nobody can be reached now, and that is known: whatever comes is asked anew."""
        self._here, self._peers = None, ()
        self._forget()

    async def run(self) -> None:
        await self._news.wait()
        while True:
            self._news = trio.Event()
            pause_s = self._pace.pause_first_s
            while await self._round() and not self._news.is_set():
                with trio.move_on_after(pause_s):
                    await self._news.wait()
                pause_s = min(pause_s * 2, self._pace.pause_most_s)
            await self._rest()

    async def _round(self) -> bool:
        """Ask once; whether some have not answered yet."""
        here, chosen = self._here, self._chosen()
        if here is not None and chosen:
            answered = await self._ask(here, chosen)
            if here != self._here:
                return True
            self._answered.update(peer for peer in answered if peer in self._peers)
            self._asked.update(peer for peer in chosen if peer in self._peers and peer not in self._answered)
        self._judge()
        return not self._answered.issuperset(self._peers)

    def _chosen(self) -> list[Peer]:
        """All of whom nothing is known yet, and some of the silent ones, those first that were asked least."""
        waiting = [peer for peer in self._peers if peer not in self._answered]
        silent = sorted((peer for peer in waiting if self._asked[peer] >= TRIES), key=lambda peer: self._asked[peer])
        return [*(peer for peer in waiting if self._asked[peer] < TRIES), *silent[:SILENT_AT_ONCE]]

    def _judge(self) -> None:
        if self._here is None:
            return
        waiting = [peer for peer in self._peers if peer not in self._answered]
        verdict = Verdict(bool(self._answered), tuple(peer for peer in waiting if self._asked[peer] >= TRIES))
        undecided = len(verdict.silent) < len(waiting)
        if undecided and not (verdict.reached and self.verdict is not None and self.verdict.cut_off):
            return
        if verdict != self.verdict:
            self.verdict = verdict
            self._changed()

    async def _rest(self) -> None:
        """Until something changed, or the tunnel looks as if it led nowhere."""
        before = None
        while not self._news.is_set():
            if not self._peers:
                await self._news.wait()
                return
            with trio.move_on_after(self._pace.watched_s):
                await self._news.wait()
                return
            now = await self._count()
            if before and now and now.received == before.received and now.sent - before.sent >= DOUBTFUL_PACKETS:
                self._forget()
                return
            before = now

    def _forget(self) -> None:
        self._answered.clear()
        self._asked.clear()
