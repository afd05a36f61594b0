"""How people name schedules and describe them by flags: what the commands of `schedule` share."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct

from cli import cells
from swarmsync.errors import NotFound

if TYPE_CHECKING:
    from swarmsync.client import Client

PATH: Final = "/v1/schedules"
_Option = typer.Option


def complete(incomplete: str) -> list[tuple[str, str]]:
    """For the shell: `last`, and the names and ids of schedules. Silent and quick when Core is away."""
    from cli.profiles import connect
    from swarmsync.errors import SwarmError

    offers = [("last", "your newest schedule")]
    try:
        with connect(patience_s=0.0) as client:
            page = client.get(PATH, {"limit": 100}, timeout_s=1.0)
        for schedule in page["items"]:
            offers += [(schedule["name"], schedule.get("cron") or ""), (schedule["id"], schedule["name"])]
    except (SwarmError, KeyError, TypeError):
        pass
    return [offer for offer in dict(offers).items() if offer[0] and offer[0].startswith(incomplete)]


_HELP: Final = "Name, id, beginning of an id, or last."
OneSchedule = Annotated[str, typer.Argument(metavar="SCHEDULE", help=_HELP, autocompletion=complete)]
Schedules = Annotated[list[str], typer.Argument(metavar="SCHEDULE", help=_HELP, autocompletion=complete)]


class TimeFlags(Struct, frozen=True):
    """When a schedule fires."""

    cron: Annotated[str, _Option("--cron", metavar="EXPR", help="5 or 6 fields, @daily..., H for a spread time.")] = ""
    tz: Annotated[str, _Option("--tz", "--timezone", metavar="ZONE", help="As Europe/Berlin (UTC).")] = ""
    at: Annotated[str, _Option("--at", metavar="TIME", help="Once, at this time: 2026-11-24T02:00:00+01:00.")] = ""
    delay: Annotated[str, _Option("--delay", help="Once, after this has passed: 15m.")] = ""
    overlap: Annotated[
        str, _Option("--overlap", help="While the last job goes on: allow, skip (default), queue, replace.")
    ] = ""
    misfire: Annotated[
        str, _Option("--misfire", help="Of instants missed while Core was down, make up: none, last (default), all.")
    ] = ""
    misfire_window: Annotated[str, _Option("--misfire-window", help="How far back missed instants count: 1h.")] = ""
    jitter: Annotated[str, _Option("--jitter", help="Shift each fire by up to this: 5m.")] = ""
    start: Annotated[str, _Option("--start", metavar="TIME", help="No fire before this.")] = ""
    end: Annotated[str, _Option("--end", metavar="TIME", help="No fire after this.")] = ""

    def document(self) -> dict[str, Any]:
        """Return the part of a schedule that was given by flags; what is absent is Core's default."""
        from swarmsync.protocol.schedule_forms import OWN

        given = {name: getattr(self, name) for name in OWN if name != "timezone"} | {"timezone": self.tz}
        return {name: value for name, value in given.items() if value != ""}


def schedule_path(schedule: str, *rest: str) -> str:
    from urllib.parse import quote

    return "/".join([PATH, quote(schedule, safe=""), *rest])


def resolve(client: "Client", selectors: Iterable[str]) -> list[str]:
    """Return what each selector names, in order and once; texts that the server can look up."""
    return list(dict.fromkeys(resolve_one(client, selector) for selector in selectors))


def resolve_one(client: "Client", selector: str) -> str:
    """Return an id or name that Core looks up. `@NAME` is a name, also where the name is `last`."""
    if selector.startswith("@") and len(selector) > 1:
        return selector[1:]
    if selector != "last":
        return selector
    me = client.session()
    for schedule in client.items(PATH, {"user": me.get("username") or me.get("user")}, limit=1):
        return str(schedule["id"])
    raise NotFound("you have no schedules")


def until(moment: str | None, now: datetime) -> str:
    """Return in how long an RFC 3339 time comes: `in 3h`; `now` once it has come."""
    then = cells.parse_time(moment)
    if then is None:
        return "-"
    seconds = (then - now).total_seconds()
    return f"in {cells.span(seconds)}" if seconds > 0 else "now"
