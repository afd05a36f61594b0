"""Times as people give them to filters."""

from datetime import UTC, datetime, timedelta

import typer


def since_filter(text: str, now: datetime | None = None, *, flag: str = "--since") -> str | None:
    """Read `2h` or a date and time (UTC unless it says otherwise) as the RFC 3339 time that the API takes."""
    if not text:
        return None
    from swarmsync.model.resources import parse_duration_ms

    try:
        return _written((now or datetime.now(UTC)) - timedelta(milliseconds=parse_duration_ms(text)))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return _written(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2h, or 2026-11-24T02:00:00Z", param_hint=flag) from None
    except OverflowError:  # its offset moves it out of the years that there are
        raise typer.BadParameter(f"{text!r} in UTC lies outside the years 1 to 9999", param_hint=flag) from None


def seconds(text: str, flag: str) -> float | None:
    """Read a duration such as 90s or 15m; nothing is None."""
    if not text:
        return None
    from swarmsync.model.resources import parse_duration_ms

    try:
        return parse_duration_ms(text) / 1000
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=flag) from None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
