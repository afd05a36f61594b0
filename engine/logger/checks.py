"""Checks of outputs, a few at once and in order, beside the Logger's turns: a large one takes longer than a pulse."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from nats.aio.msg import Msg

from swarmsync.errors import Unavailable
from swarmsync.protocol.messages import CheckOutput, OutputChecked

AT_ONCE: Final = 8
RETRY_S: Final = 0.2
TRIES_MAX: Final = 150  # for half a minute: then the worker asks again
#: Beyond, a question is left without an answer: the worker asks again.
WAITING_MAX: Final = 10_000

_Key: TypeAlias = tuple[int, int, int]


class Checks:
    def __init__(
        self,
        check: Callable[[CheckOutput], Awaitable[OutputChecked]],
        answer: Callable[[Msg, CheckOutput, OutputChecked], Awaitable[None]],
    ) -> None:
        self._check = check
        self._answer = answer
        self._asked: dict[_Key, tuple[Msg, CheckOutput]] = {}  # of each output the latest question
        self._running: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def ask(self, message: Msg, word: CheckOutput) -> None:
        """Check an output when its turn comes. Who asks again meanwhile gets the answer in the place of the first."""
        key = (word.ref.job_id, word.ref.fence, word.stream)
        waits = key in self._asked
        if not waits and len(self._asked) >= WAITING_MAX:
            return
        self._asked[key] = message, word
        if not waits:
            check = asyncio.create_task(self._run(key))
            self._running.add(check)
            check.add_done_callback(self._running.discard)

    def close(self) -> None:
        for check in self._running:
            check.cancel()

    async def _run(self, key: _Key) -> None:
        """Look until PostgreSQL can say, and the latest question has its answer: who asks again does so late."""
        try:
            for _ in range(TRIES_MAX):
                try:
                    async with self._places:
                        message, word = self._asked[key]
                        result = await self._check(word)
                except Unavailable:
                    await asyncio.sleep(RETRY_S)
                    continue
                latest, again = self._asked[key]
                await self._answer(latest if again == word else message, word, result)
                if self._asked[key] in ((message, word), (latest, word)):
                    return
        finally:
            del self._asked[key]
