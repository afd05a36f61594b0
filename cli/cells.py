"""How single values look in a table: times, amounts, ages, and text that cannot steer the terminal. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

# C0, DEL, C1, the line separators, zero-width and bidirectional controls, lone surrogates
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_COLOURS: Final[Mapping[str, str]] = {
    "succeeded": "32", "ready": "32", "open": "32",
    "running": "36", "starting": "36", "stopping": "36", "joining": "36",
    "failed": "31", "timed_out": "31", "lost": "31", "expired": "31", "error": "31", "critical": "31",
    "suspect": "33", "cancelled": "33", "cordoned": "33", "draining": "33", "drained": "33", "quarantined": "33",
    "warning": "33", "held": "33", "paused": "33", "offline": "90",
}  # fmt: skip


def escape(text: str) -> str:
    r"""Return `text` with control characters written out (`\x1b`, `\u202e`), so that no name can steer a terminal."""
    return _CONTROL.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(match[0])
    return short or (f"\\x{ord(match[0]):02x}" if ord(match[0]) < 256 else f"\\u{ord(match[0]):04x}")


def plain(value: Any) -> str:
    """Return any JSON value as one escaped cell; nothing is `-`."""
    if value is None or value in ("", {}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return escape(",".join(f"{key}={entry}" for key, entry in value.items()))
    if isinstance(value, list):
        return escape(",".join(str(entry) for entry in value))
    if isinstance(value, float):
        return f"{value:g}"
    return escape(str(value))


def coloured(cell: str) -> str:
    colour = _COLOURS.get(cell.strip())
    return f"\x1b[{colour}m{cell}\x1b[0m" if colour else cell


def age(moment: str | None, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was: `12s`, `5m`, `3h`, `8d`; in the future with a plus."""
    then = parse_time(moment)
    if then is None:
        return "-"
    seconds = (now - then).total_seconds()
    return ("+" if seconds < 0 else "") + span(abs(seconds))


def duration(start: str | None, end: str | None, now: datetime) -> str:
    first, last = parse_time(start), parse_time(end) or now
    return span(max(0.0, (last - first).total_seconds())) if first else "-"


def span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f}s"
    for unit, size, until in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86400)}d"


def parse_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def instant(text: str | None, *, fraction: int = 0) -> str:
    """Return an RFC 3339 time in UTC without its microseconds, which people do not read: `2026-11-24T02:00:00Z`."""
    moment = parse_time(text)
    if moment is None:
        return plain(text)
    written = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return written[: -6 + fraction].rstrip(".") + "Z"


def size(amount: float | None) -> str:
    if amount is None:
        return "-"
    from swarmsync.model.resources import format_size

    return format_size(int(amount))


def width(text: str) -> int:
    """Return the columns that `text` takes; wide East Asian letters take two."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, columns: int) -> str:
    """Return `text` in at most `columns` columns, with an ellipsis where something is missing."""
    if width(text) <= columns:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) > columns - 1:
            break
        kept += letter
    return kept + "…"
