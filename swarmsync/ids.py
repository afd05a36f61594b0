"""Identifiers: 63-bit integers inside, 13 lower-case base32 characters outside; both sort by creation.

Layout, high to low: 41 bits of milliseconds since 2024-01-01 UTC (until 2093), 10 bits of generator number, 12 bits of
counter. The generator number is handed out by PostgreSQL (one per process start), so two processes never share one
while fewer than 1,024 live.
"""

from collections.abc import Callable
from typing import Final

EPOCH_MS: Final = 1_704_067_200_000
GENERATORS: Final = 1 << 10
_COUNTER_BITS: Final = 12
_GENERATOR_BITS: Final = 10
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_LENGTH: Final = 13
_PAIRS: Final = tuple([high + low for high in _ALPHABET for low in _ALPHABET])
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}


def encode(number: int) -> str:
    """Return the text form of an id: fixed width, so that text order is number order."""
    if not 0 <= number < 1 << 63:
        raise ValueError(f"an id is a 63-bit number, not {number}")
    pairs = _PAIRS
    return (
        _ALPHABET[number >> 60]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def decode(text: str) -> int | None:
    """Return the number behind a text id, or None for what is no id."""
    if len(text) != _LENGTH:
        return None
    number = 0
    for letter in text:
        value = _VALUES.get(letter)
        if value is None:
            return None
        number = number << 5 | value
    return number if number < 1 << 63 else None


def prefix_range(prefix: str) -> tuple[int, int] | None:
    """Return (lowest, highest) id whose text starts with `prefix`, or None when no id does."""
    if not 0 < len(prefix) <= _LENGTH or any(letter not in _VALUES for letter in prefix):
        return None
    low, high = decode(prefix.ljust(_LENGTH, "0")), decode(prefix.ljust(_LENGTH, "z"))
    if low is None:
        return None
    return low, high if high is not None else (1 << 63) - 1


def made_ms(number: int) -> int:
    """Return when an id was made, on the wall clock of its maker."""
    return (number >> _GENERATOR_BITS + _COUNTER_BITS) + EPOCH_MS


class IdSource:
    """Makes ids that grow within one process, also when the wall clock steps back."""

    def __init__(self, generator: int, wall_ms: Callable[[], int]) -> None:
        self._generator = generator % GENERATORS
        self._wall_ms = wall_ms
        self._last = (0, 0)

    def next(self) -> int:
        last_ms, counter = self._last
        now_ms = self._wall_ms() - EPOCH_MS
        if now_ms > last_ms:
            last_ms, counter = now_ms, 0
        elif counter + 1 < 1 << _COUNTER_BITS:
            counter += 1
        else:  # more than 4,096 in this millisecond: borrow from the next one
            last_ms, counter = last_ms + 1, 0
        self._last = (last_ms, counter)
        return last_ms << (_GENERATOR_BITS + _COUNTER_BITS) | self._generator << _COUNTER_BITS | counter
