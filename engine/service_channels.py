"""The wiring between the engine's processes, as data: who tells whom what, over which ring.

The supervisor makes all rings and doorbells from `CHANNELS` before it forks; a module then opens its ends. Work
circulates one way, so a full ring must not make everybody wait for everybody: `inbox` never waits (its writer drops the
hint and later says Resync), the journals drop and count, the others wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from engine.shared_resource.doorbell import Doorbell, RingReader, RingWriter
from engine.shared_resource.ring import Ring
from engine.shared_resource.ring_words import RingCorrupt
from engine.shared_resource.segment import Segment
from swarmsync.protocol import codec

WORDS_PER_FRAME: Final = 512


class Role(StrEnum):
    LOGGER = "logger"
    DISPATCHER = "dispatcher"
    HIBERNATOR = "hibernator"
    SCHEDULER = "scheduler"
    HARVESTER = "harvester"


#: Consumers start first, intake stops first.
START_ORDER: Final = (Role.LOGGER, Role.DISPATCHER, Role.HIBERNATOR, Role.SCHEDULER, Role.HARVESTER)
STOP_ORDER: Final = tuple(reversed(START_ORDER))

PURPOSE: Final = {
    Role.HARVESTER: "listens: workers' pulses and reports, hints from the API; writes verdicts",
    Role.SCHEDULER: "decides which waiting job goes to which worker",
    Role.DISPATCHER: "speaks: makes placements durable and orders workers to run and stop jobs",
    Role.HIBERNATOR: "keeps time: delayed jobs, retries, queue timeouts",
    Role.LOGGER: "stores the engine's journal and the jobs' output, and drops what is too old",
}


class Channel(Struct, frozen=True):
    name: str
    writer: Role
    reader: Role
    decode: Callable[[bytes], list[Any]]
    capacity_bytes: int
    when_full: str
    #: What is lost is made good by a successor of the reader only: it reads the rows, and its neighbours notice.
    damage_ends_reader: bool = False


_MIB: Final = 1 << 20
_R: Final = Role

CHANNELS: Final = (
    #       name          from          to             decode                      size      when full, damage ends?
    Channel("inbox",      _R.HARVESTER,  _R.SCHEDULER,  codec.decode_to_scheduler,  8 * _MIB, "drop, then Resync"),
    Channel("due",        _R.HIBERNATOR, _R.SCHEDULER,  codec.decode_to_scheduler,  2 * _MIB, "drop; the feed tells"),
    Channel("placements", _R.SCHEDULER,  _R.DISPATCHER, codec.decode_to_dispatcher, 8 * _MIB, "stay undecided", True),
    Channel("bounces",    _R.DISPATCHER, _R.HARVESTER,  codec.decode_to_harvester,  8 * _MIB, "wait",           True),
    Channel("journal.harvester",  _R.HARVESTER,  _R.LOGGER, codec.decode_journal, _MIB, "drop and count"),
    Channel("journal.hibernator", _R.HIBERNATOR, _R.LOGGER, codec.decode_journal, _MIB, "drop and count"),
    Channel("journal.scheduler",  _R.SCHEDULER,  _R.LOGGER, codec.decode_journal, _MIB, "drop and count"),
    Channel("journal.dispatcher", _R.DISPATCHER, _R.LOGGER, codec.decode_journal, _MIB, "drop and count"),
)  # fmt: skip

#: The words on each ring, for the documents; the decoders above enforce them.
CARRIES: Final = {
    "inbox": "JobsSubmitted, StopWanted, WorkerJoined/Changed/Lost, AssignmentEnded, PlacementVoid, "
    "LimitsChanged, Ask, Resync",
    "due": "JobsDue",
    "placements": "Place, Revoke, LineWaits, Answer, PlanVoid",
    "bounces": "Offered, Refused, PlacementVoid",
    "journal": "JournalLine",
}


class Wiring:
    """All rings and doorbells of one Core, made by the supervisor and inherited by the modules."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.bells = {role: Doorbell.create() for role in Role}
        self._segments: dict[str, Segment] = {}
        for channel in CHANNELS:
            segment = Segment.create(instance, channel.name, Ring.segment_bytes(channel.capacity_bytes))
            Ring.create(segment, channel.capacity_bytes)
            self._segments[channel.name] = segment

    def ring(self, name: str) -> Ring:
        return Ring.attach(self._segments[name])

    def writer(self, name: str) -> "ChannelWriter":
        channel = next(channel for channel in CHANNELS if channel.name == name)
        return ChannelWriter(RingWriter(self.ring(name), self.bells[channel.reader]), self.bells[channel.reader])

    def readers(self, role: Role) -> dict[str, "ChannelReader"]:
        return {
            channel.name: ChannelReader(
                RingReader(self.ring(channel.name), self.bells[role]),
                channel.decode,
                damage_ends_reader=channel.damage_ends_reader,
            )
            for channel in CHANNELS
            if channel.reader is role
        }

    def let_go(self) -> None:
        """Hold no page of a ring that was passed long ago: what the rings have is theirs, not this process's growth."""
        for segment in self._segments.values():
            segment.let_go()

    def fence(self, role: Role, epoch: int) -> None:
        """Shut out earlier processes of a module: their next ring operation raises StaleEpoch."""
        for channel in CHANNELS:
            if channel.writer is role:
                self.ring(channel.name).fence_writer(epoch)
            if channel.reader is role:
                self.ring(channel.name).fence_reader(epoch)
        self.let_go()

    def close(self) -> None:
        """Unlink and unmap; supervisor only, when no module lives."""
        for segment in self._segments.values():
            segment.unlink()


class ChannelWriter:
    """The writing end. Words go in frames of up to 512; the reader's doorbell rings only when it sleeps."""

    def __init__(self, end: RingWriter, bell: Doorbell) -> None:
        self.ring = end.ring
        self._bell = bell

    def offer(self, words: Sequence[Any], *, wakes: bool = True) -> int:
        """Put as many leading words as fit; return how many. Never waits. A reader that sleeps is woken, or not."""
        done = 0
        while done < len(words):
            part = words[done : done + WORDS_PER_FRAME]
            payload = codec.encode(part)
            while len(payload) > self.ring.payload_bytes_max and len(part) > 1:
                part = part[: max(1, len(part) // 8)]
                payload = codec.encode(part)
            if not self.ring.put_frame(payload, len(part), wakes=wakes):
                break
            done += len(part)
        return done

    def offer_or_drop(self, words: Sequence[Any]) -> bool:
        """Put all, or count what was dropped; False when something was."""
        done = self.offer(words)
        if done < len(words):
            self.ring.count_dropped(len(words) - done)
            return False
        return True

    async def put(self, words: Sequence[Any], *, wakes: bool = True) -> None:
        """Put all, waiting for room: only towards a reader that never waits for us."""
        while words:
            words = words[self.offer(words, wakes=wakes) :]
            if words:
                self._bell.ring()
                await asyncio.sleep(0.002)


class ChannelReader:
    """The reading end. A ring that contradicts itself is given up to its tail; `damaged` tells the owner to reload.

    With `damage_ends_reader` that is RingCorrupt instead, and the next reader goes on behind it.
    """

    def __init__(
        self, end: RingReader, decode: Callable[[bytes], list[Any]], *, damage_ends_reader: bool = False
    ) -> None:
        self.end = end
        self._decode = decode
        self._damage_ends_reader = damage_ends_reader
        self.damaged = 0

    def take(self, frames_max: int = 16) -> list[Any]:
        words: list[Any] = []
        while frames_max > 0:
            try:
                frames = self.end.take_frames(frames_max)
            except RingCorrupt as problem:
                self.end.abandon()
                self._lose(f"{problem}; given up to its tail")
                break
            if not frames:
                break
            frames_max -= len(frames)
            for frame in frames:
                try:
                    words += self._decode(frame)
                except codec.DecodeError as problem:
                    self._lose(f"ring {self.end.ring.name} carried what is no word: {problem}")
        return words

    def _lose(self, how: str) -> None:
        self.damaged += 1
        if self._damage_ends_reader:
            raise RingCorrupt(how)
