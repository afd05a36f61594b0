"""What a clock change does to a fire, in words. Pure."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from swarmsync.model.cron import Rule

_SECOND: Final = timedelta(seconds=1)
_NAMED_MAX: Final = 4


def clock_change_note(rule: Rule, zone: ZoneInfo, due: datetime) -> str | None:
    """Say that a fire was moved out of a gap, that several became one there, or that its local time occurs twice.

    Rules by elapsed time (a `*` or a step in minute or hour) are not touched by clock changes.
    """
    if rule.elapsed:
        return None
    local = due.astimezone(zone).replace(tzinfo=None, fold=0)
    before = (due - _SECOND).astimezone(zone).utcoffset() or timedelta()
    after = due.astimezone(zone).utcoffset() or timedelta()
    if after > before:
        return _after_gap(rule, (due.astimezone(UTC) + before).replace(tzinfo=None), local)
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is not None and second is not None and second < first:
        return f"{_time(local)} occurs twice on this day; it fires at the first only"
    return None


def _after_gap(rule: Rule, gap: datetime, local: datetime) -> str | None:
    """Return what happened to the matching local times from `gap` on, which fire at `local`, where the clocks go on."""
    missing: list[datetime] = []
    found = rule.next_local(gap - _SECOND)
    while found is not None and found < local:
        missing.append(found)
        found = rule.next_local(found)
    if not missing:
        return None
    named = ", ".join(_time(time) for time in islice(missing, _NAMED_MAX))
    more = f" and {len(missing) - _NAMED_MAX} more" if len(missing) > _NAMED_MAX else ""
    if len(missing) == 1 and found != local:
        return f"{named} does not exist on this day; moved to {_time(local)}"
    itself = " itself" if found == local else ""
    verb = "does" if len(missing) == 1 else "do"
    return f"{named}{more} {verb} not exist on this day; merged into one fire at {_time(local)}{itself}"


def _time(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
