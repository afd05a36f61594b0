"""Amounts: how users write durations and sizes, and what a job needs of a worker."""

import re
from typing import Final

from msgspec import Struct

from swarmsync.model.bounds import Amount, Small

_DURATION_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_UNITS: Final = {
    "": 1, "b": 1,
    "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10,
    "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
    "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
    "t": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
}  # fmt: skip
_NUMBER_AND_UNIT: Final = re.compile(r"\s*(\d{1,16}(?:\.\d{1,9})?)\s*([a-zA-Z]*)\s*")
_DURATION: Final = re.compile(r"\s*(?:\d{1,12}(?:\.\d{1,6})?(?:ms|s|m|h|d)\s*)+")
_DURATION_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)")
DURATION_MAX_MS: Final = 10 * 365 * _DURATION_UNITS_MS["d"]
SIZE_MAX: Final = 1 << 50


def parse_duration_ms(text: str) -> int:
    """Read `90s`, `15m`, `2h`, `1d`, `1h30m`, `250ms` as milliseconds. Raises ValueError with a remedy."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a duration; write it like 90s, 15m, 2h or 1d")
    total = sum(round(float(number) * _DURATION_UNITS_MS[unit]) for number, unit in _DURATION_PART.findall(text))
    if total > DURATION_MAX_MS:
        raise ValueError(f"{text[:40]!r} is longer than 10 years")
    return total


def parse_size(text: str) -> int:
    """Read `256MiB`, `1GiB`, or `512m`, `2g` as Docker does, as bytes. Raises ValueError with a remedy."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    factor = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text[:40]!r} is not a size; write it like 256MiB, 1GiB or 512m")
    size = round(float(match[1]) * factor)
    if size > SIZE_MAX:
        raise ValueError(f"{text[:40]!r} is more than 1 PiB")
    return size


def format_duration(milliseconds: int) -> str:
    """Write milliseconds the way they are read: `2h`, `1h30m`, `250ms`."""
    if milliseconds == 0:
        return "0s"
    parts, rest = [], milliseconds
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _DURATION_UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_size(size: int) -> str:
    """Write bytes for people, in the largest unit, where need be with one decimal: `256MiB`, `1.5GiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size // factor}{unit}" if size % factor == 0 else f"{size / factor:.1f}{unit}"
    return f"{size}B"


def exact_size(size: int) -> str:
    """Write bytes in the largest unit that is exact, for documents that are read again: `1500MiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


class Need(Struct, frozen=True, array_like=True, gc=False):
    """What one assignment takes from a worker for as long as it lives."""

    cpus_milli: Small = 1_000
    memory_bytes: Amount = 512 << 20
    gpus: Small = 0
    disk_bytes: Amount = 0

    def fits(self, free: "Need") -> bool:
        return (
            self.cpus_milli <= free.cpus_milli
            and self.memory_bytes <= free.memory_bytes
            and self.gpus <= free.gpus
            and self.disk_bytes <= free.disk_bytes
        )

    def plus(self, other: "Need") -> "Need":
        return Need(
            self.cpus_milli + other.cpus_milli,
            self.memory_bytes + other.memory_bytes,
            self.gpus + other.gpus,
            self.disk_bytes + other.disk_bytes,
        )

    def minus(self, other: "Need") -> "Need":
        return Need(
            self.cpus_milli - other.cpus_milli,
            self.memory_bytes - other.memory_bytes,
            self.gpus - other.gpus,
            self.disk_bytes - other.disk_bytes,
        )

    def lacks(self, free: "Need") -> tuple[str, ...]:
        """Name each resource that `free` has too little of, for `why`: ("cpus", "memory")."""
        pairs = (
            ("cpus", self.cpus_milli, free.cpus_milli),
            ("memory", self.memory_bytes, free.memory_bytes),
            ("gpus", self.gpus, free.gpus),
            ("disk", self.disk_bytes, free.disk_bytes),
        )
        return tuple([name for name, need, have in pairs if need > have])


NOTHING: Final = Need(0, 0, 0, 0)


def format_cpus(cpus_milli: int) -> str:
    return f"{cpus_milli / 1000:g}"
