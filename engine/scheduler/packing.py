"""Which worker a job leaves in the best state: what is left there should stay useful for others.

Two measures. `spare` is best fit, for whole GPUs and for work without. `Fragmentation` is for shares of GPUs: how much
of the free GPUs a typical job could not use, over a mix of typical jobs; a job goes where it adds least to that
(fragmentation gradient descent: Weng et al., USENIX ATC'23).
"""

from collections.abc import Iterable
from typing import Final, Protocol

from msgspec import Struct

from swarmsync.model.resources import Need

_GPU_WEIGHT: Final = 1_000_000  # a worker with free GPUs is the last choice for work without


class Room(Protocol):
    cpus_milli: int
    memory_bytes: int
    gpus: int


def spare(room: Room, _need: Need) -> int:
    """Best fit takes the worker with the least left: a core weighs as much as 2 GiB."""
    return room.cpus_milli + (room.memory_bytes >> 21) + room.gpus * _GPU_WEIGHT


WHOLE: Final = 1_000
#: Where it adds (nearly) the same, the worker with less left: by its free thousandths of GPUs, and of cpus.
_FREE_GPU: Final = 0.005
_FREE_CPU: Final = 0.0003


class Ask(Struct, frozen=True):
    """What a job asks of one worker: `devices` GPUs, `share` thousandths of each."""

    cpus_milli: int
    memory_mb: int
    devices: int
    share: int


class Left(Struct, frozen=True):
    """What a worker has left: the free thousandths of each GPU, the emptiest first."""

    cpus_milli: int
    memory_mb: int
    devices: tuple[int, ...]

    def fits(self, ask: Ask) -> bool:
        return (
            ask.cpus_milli <= self.cpus_milli
            and ask.memory_mb <= self.memory_mb
            and (ask.devices == 0 or (len(self.devices) >= ask.devices and self.devices[ask.devices - 1] >= ask.share))
        )

    def after(self, ask: Ask) -> Iterable["Left"]:
        """Yield what may be left once the job is there, for each way to choose its GPUs."""
        cpus, memory = self.cpus_milli - ask.cpus_milli, self.memory_mb - ask.memory_mb
        if ask.devices == 0:
            yield Left(cpus, memory, self.devices)
        elif ask.devices > 1 or ask.share == WHOLE:
            # Several, or a whole one: the fullest that still do.
            last = max(place for place, free in enumerate(self.devices) if free >= ask.share) + 1
            taken = tuple([free - ask.share for free in self.devices[last - ask.devices : last]])
            rest = self.devices[: last - ask.devices] + self.devices[last:]
            yield Left(cpus, memory, tuple(sorted((*rest, *taken), reverse=True)))
        else:
            for free in sorted({free for free in self.devices if free >= ask.share}):
                parts = list(self.devices)
                parts[parts.index(free)] = free - ask.share
                yield Left(cpus, memory, tuple(sorted(parts, reverse=True)))


class Fragmentation:
    """The measure for one mix of typical jobs: (weight, ask)."""

    def __init__(self, mix: Iterable[tuple[float, Ask]]) -> None:
        entries = list(mix)
        total = sum(weight for weight, _ in entries)
        self._idle = sum(weight for weight, ask in entries if ask.devices == 0) / total
        self._mix = [
            (weight / total, ask.cpus_milli, ask.memory_mb, ask.devices, ask.share)
            for weight, ask in entries
            if ask.devices
        ]
        self._amounts: dict[Left, float] = {}
        self._steps: dict[Ask, dict[Left, tuple[float, Left] | None]] = {}

    def amount(self, left: Left) -> float:
        """Return how much of the free GPUs, in thousandths, a typical job cannot use."""
        known = self._amounts.get(left)
        if known is None:
            known = self._amounts[left] = self._amount(left)
        return known

    def _amount(self, left: Left) -> float:
        devices, cpus, memory = left.devices, left.cpus_milli, left.memory_mb
        free = sum(devices)
        if not free:
            return 0.0
        useless = self._idle
        small: dict[int, int] = {}
        lost = 0.0
        for weight, wanted_cpus, wanted_memory, count, share in self._mix:
            if wanted_cpus > cpus or wanted_memory > memory or count > len(devices) or devices[count - 1] < share:
                useless += weight
            else:
                below = small.get(share)
                if below is None:
                    below = small[share] = sum(part for part in devices if part < share)
                lost += weight * below
        return useless * free + lost

    def step(self, left: Left, ask: Ask) -> tuple[float, Left] | None:
        """Return how welcome it is (less is better) and what would be left; None when it does not fit."""
        steps = self._steps.setdefault(ask, {})
        if left not in steps:
            steps[left] = self._step(left, ask) if left.fits(ask) else None
        return steps[left]

    def _step(self, left: Left, ask: Ask) -> tuple[float, Left]:
        before = self.amount(left) - _FREE_GPU * sum(left.devices) - _FREE_CPU * left.cpus_milli
        return min(
            ((self.amount(after) - before, after) for after in left.after(ask)),
            key=lambda step: step[0],
        )
