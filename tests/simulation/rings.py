"""The engine's rings as bounded queues of words. Full is an answer; they outlive the modules at their ends."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from programs import Bell

from swarmsync.protocol.messages import WorkerJoined


class FakeRing:
    """`ChannelWriter` and `ChannelReader` in one; a slot takes one word."""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.words: deque[Any] = deque()
        self.bell: Bell | None = None  # of the module that reads
        self.reader_epoch = 0
        self.dropped = 0
        self.highest = 0
        self.put_ever = False

    def room(self) -> int:
        return self.slots - len(self.words)

    def offer(self, words: Sequence[Any], *, wakes: bool = True) -> int:
        taken = min(len(words), self.room())
        self.put_ever |= taken > 0
        self.words.extend(_as_sent(word) for word in words[:taken])
        self.highest = max(self.highest, len(self.words))
        if taken and wakes and self.bell is not None:
            self.bell.ring()
        return taken

    def offer_or_drop(self, words: Sequence[Any]) -> bool:
        taken = self.offer(words)
        self.dropped += len(words) - taken
        return taken == len(words)

    def put(self, words: Sequence[Any], *, wakes: bool = True) -> Any:
        """A program: wait for room, towards a reader that never waits for us."""
        while words:
            words = words[self.offer(words, wakes=wakes) :]
            if words:
                if self.bell is not None:
                    self.bell.ring()
                yield 2

    def take(self, words_max: int = 8_192) -> list[Any]:
        return [self.words.popleft() for _ in range(min(words_max, len(self.words)))]


def _as_sent(word: Any) -> Any:
    """What is mutable must not be shared over the ring: the real one carries bytes."""
    if isinstance(word, WorkerJoined):
        return WorkerJoined(msgspec.structs.replace(word.worker), word.holds)
    return word
