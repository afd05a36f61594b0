"""Who waits for what: hints from NATS wake the requests that look at jobs.

Every waiter also polls, so a lost hint costs it a second and nothing else; while NATS is away all of them poll.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from nats.aio.msg import Msg

from api.listening import Ear
from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import Ask, By, Changed, WorkersChanged
from swarmsync.store.submit import Wanted, ready

#: Jobs named in one hint; a longer list is not worth its bytes, the receivers look for themselves.
NAMED_MAX = 10_000
#: Jobs described in one hint, and how large it may be: the Harvester need not read of them then (decision 58).
DESCRIBED_MAX = 5_000
DESCRIBED_BYTES_MAX = 512 << 10
_decode_changed = codec.decoder_of(Changed)


class Watch:
    """Woken by hints; `wait` returns at the first one since the last call, or after its time."""

    def __init__(self, *, ends_only: bool = False) -> None:
        self._bell = asyncio.Event()
        self.ends_only = ends_only

    def ring(self) -> None:
        self._bell.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return True when a hint came within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return True


class EventsHub:
    """One connection to NATS and the watches of this process."""

    def __init__(self, nats_url: str) -> None:
        self._url = nats_url
        self._bus: Bus | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._by_job: defaultdict[int, set[Watch]] = defaultdict(set)
        self._of_all: set[Watch] = set()
        self._outputs: dict[int, Any] = {}
        self._ends = Ear((subjects.CHANGED,), self._on_changed)
        self._others = Ear((subjects.SUBMITTED, subjects.BEGUN), self._on_changed)
        self.on_limits: Callable[[], object] = lambda: None

    @property
    def connected(self) -> bool:
        return self._bus is not None and self._bus.connected

    async def start(self, patience_s: float) -> None:
        """Connect; where that takes longer than `patience_s` it goes on in the background."""
        self._connecting = asyncio.create_task(self._connect())
        await asyncio.wait((self._connecting,), timeout=patience_s)

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        self._ends.close()
        self._others.close()
        if self._bus is not None:
            await self._bus.close()

    async def _connect(self) -> None:
        bus = await Bus.connect(self._url, "api")
        bus.on_reconnect = self._ring_all
        await bus.subscribe(subjects.LIMITS_CHANGED, self._on_limits_changed)
        self._bus = bus
        self._ends.attach(bus, self._ring_all)
        self._others.attach(bus, self._ring_all)
        self._ring_all()

    # ------------------------------------------------ telling

    async def tell_changed(self, job_ids: list[int]) -> None:
        """Say that these jobs were changed by a commit. May be lost."""
        await self._tell(subjects.CHANGED, Changed(_named(job_ids)))

    async def tell_submitted(self, made: Sequence[Wanted]) -> None:
        """Say that the jobs of these requests are new, and where they fit what the Scheduler needs. May be lost.

        They are all that their transaction made.
        """
        job_ids = [job.job_id for wanted in made for job in wanted.submission.jobs]
        fresh = ready(made) if len(job_ids) <= DESCRIBED_MAX else ()
        if fresh and len(fresh) * len(codec.encode(fresh[0])) > DESCRIBED_BYTES_MAX:
            fresh = ()  # most often they are alike: nothing is encoded in vain
        word = Changed(_named(job_ids), By.SUBMISSION, fresh=fresh, xid=made[0].submission.xid)
        payload = codec.encode(word)
        if len(payload) > DESCRIBED_BYTES_MAX and fresh:
            payload = codec.encode(Changed(word.job_ids, By.SUBMISSION, xid=word.xid))
        await self._publish(subjects.SUBMITTED, payload)

    async def tell_workers_changed(self, worker_id: int) -> None:
        await self._tell(subjects.WORKERS_CHANGED, WorkersChanged(worker_id))

    async def tell_limits_changed(self) -> None:
        """Say that limits of queues or users were changed, to the engine and to the other processes of the API."""
        await self._publish(subjects.LIMITS_CHANGED, b"")

    async def _tell(self, subject: str, word: Changed | WorkersChanged) -> None:
        await self._publish(subject, codec.encode(word))

    async def _publish(self, subject: str, payload: bytes) -> None:
        if self._bus is not None:
            with contextlib.suppress(Unavailable):
                await self._bus.publish(subject, payload)

    async def ask(self, word: Ask, patience_s: float) -> bytes | None:
        """Ask the Scheduler; None when no answer came in time, or nobody is there to give one."""
        if self._bus is None:
            return None
        try:
            return await self._bus.request(subjects.ASK, codec.encode(word), patience_s)
        except Unavailable:
            return None

    async def ping(self) -> None:
        """Raise Unavailable when NATS does not answer."""
        if self._bus is None:
            raise Unavailable("NATS does not answer (not connected yet)")
        await self._bus.flush()

    # ------------------------------------------------ watching

    @contextlib.asynccontextmanager
    async def watch_all(self) -> AsyncIterator[Watch]:
        """Be woken by every hint."""
        watch = Watch()
        self._of_all.add(watch)
        try:
            async with self._ends.listening(), self._others.listening():
                yield watch
        finally:
            self._of_all.discard(watch)

    @contextlib.asynccontextmanager
    async def watch_job(self, job_id: int, *, ends_only: bool = False) -> AsyncIterator[Watch]:
        """Be woken when this job changes; with `ends_only` only when it may have ended."""
        watch = Watch(ends_only=ends_only)
        self._by_job[job_id].add(watch)
        try:
            async with self._ends.listening(), contextlib.nullcontext() if ends_only else self._others.listening():
                yield watch
        finally:
            self._by_job[job_id].discard(watch)
            if not self._by_job[job_id]:
                del self._by_job[job_id]

    @contextlib.asynccontextmanager
    async def watch_output(self, job_id: int) -> AsyncIterator[Watch]:
        """Be woken when this job changes and when there is more of its output."""
        async with self.watch_job(job_id) as watch:
            if self._bus is not None and job_id not in self._outputs:
                self._outputs[job_id] = None  # taken, while the subscription is being made
                with contextlib.suppress(Unavailable, OSError):
                    self._outputs[job_id] = await self._bus.subscribe(subjects.stored(job_id), self._on_stored)
            try:
                yield watch
            finally:
                if len(self._by_job[job_id]) == 1:
                    subscription = self._outputs.pop(job_id, None)
                    if subscription is not None:
                        with contextlib.suppress(Exception):
                            await subscription.unsubscribe()

    async def _on_changed(self, message: Msg) -> None:
        try:
            word = _decode_changed(message.data)
        except codec.DecodeError:
            return
        if not word.job_ids and not word.begun:
            self._ring_all()
            return
        for watch in self._of_all:
            watch.ring()
        if self._by_job:
            self._ring_some(word.begun, ended=False)
            self._ring_some(word.job_ids, ended=word.by is not By.SUBMISSION)

    def _ring_some(self, job_ids: Sequence[int], *, ended: bool) -> None:
        for job_id in job_ids:
            for watch in self._by_job.get(job_id, ()):
                if ended or not watch.ends_only:
                    watch.ring()

    async def _on_limits_changed(self, _message: Msg) -> None:
        self.on_limits()

    async def _on_stored(self, message: Msg) -> None:
        job_id = message.subject.rpartition(".")[2]
        for watch in self._by_job.get(int(job_id), ()) if job_id.isdecimal() else ():
            watch.ring()

    def _ring_all(self) -> None:
        for watch in (*self._of_all, *(watch for watches in self._by_job.values() for watch in watches)):
            watch.ring()


def _named(job_ids: Sequence[int]) -> tuple[int, ...]:
    return tuple(job_ids) if len(job_ids) <= NAMED_MAX else ()
