"""Questions to the Scheduler: how many may be under way, and what is too many. Pure.

The Scheduler answers through the Dispatcher, so nobody here learns when a question was answered; whoever asked gives up
after `patience_ms`, and until then the question counts.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from swarmsync.protocol.messages import Ask

WAITING_MAX: Final = 256
BUSY: Final = b'{"busy":true}'


class Asks:
    """What was asked since the last turn, and when the last ones went on."""

    def __init__(self, *, under_way_max: int = 64, patience_ms: int = 1_000) -> None:
        self._under_way_max = under_way_max
        self._patience_ms = patience_ms
        self._arrived: list[Ask] = []
        self._gone_ms: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._arrived)

    def arrived(self, word: Ask, reply: str) -> bool:
        """Keep a question for the next turn; False when there are too many: it is to be told so."""
        if not reply or len(self._arrived) >= WAITING_MAX:
            return False
        self._arrived.append(msgspec.structs.replace(word, reply=reply))
        return True

    def take(self, now_ms: int) -> tuple[list[Ask], list[Ask]]:
        """Return what may go to the Scheduler now, and what is refused because too much is under way."""
        while self._gone_ms and now_ms - self._gone_ms[0] >= self._patience_ms:
            self._gone_ms.popleft()
        room = max(0, self._under_way_max - len(self._gone_ms))
        arrived, self._arrived = self._arrived, []
        self._gone_ms.extend([now_ms] * min(room, len(arrived)))
        return arrived[:room], arrived[room:]

    @staticmethod
    def refused(unsent: Sequence[Ask]) -> list[tuple[str, bytes]]:
        """Return whom to tell that Core is busy, and how."""
        return [(word.reply, BUSY) for word in unsent]
