"""How people name jobs: an id, the beginning of one, `last`, `@name`, a member `JOB[7]` or members `JOB[3-7]`."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import typer

from swarmsync.errors import NotFound

if TYPE_CHECKING:
    from swarmsync.client import Client

PREFIX_MIN: Final = 4
MEMBERS_MAX: Final = 10_000
_MEMBERS: Final = re.compile(r"(.+)\[(\d+)(?:-(\d+))?\]")
_ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{1,13}")


def resolve(client: "Client", selectors: Iterable[str]) -> list[str]:
    """Return what each selector names, in order and once; ids that the server can look up."""
    found: dict[str, None] = {}
    for selector in selectors:
        for job_id in _resolve(client, selector):
            found.setdefault(job_id)
    return list(found)


def resolve_one(client: "Client", selector: str) -> str:
    found = _resolve(client, selector)
    if len(found) != 1:
        raise typer.BadParameter(f"{selector} names {len(found)} jobs; one is wanted here")
    return found[0]


def _resolve(client: "Client", selector: str) -> list[str]:
    members = _MEMBERS.fullmatch(selector)
    if members is not None:
        first, last = int(members[2]), int(members[3] or members[2])
        if not first <= last < first + MEMBERS_MAX:
            raise typer.BadParameter(f"{selector!r} is no range of members; write it like {members[1]}[3-7]")
        array = resolve_one(client, members[1])
        return [f"{array}[{index}]" for index in range(first, last + 1)]
    if selector == "last":
        me = client.session()
        return [_newest(client, {"user": me.get("username") or me.get("user")}, "you have no jobs")]
    if selector.startswith("@") and len(selector) > 1:
        return [_newest(client, {"name": selector[1:]}, f"no job is named {selector[1:]!r}")]
    if not _ID.fullmatch(selector):
        raise NotFound(f"no job has an id like {selector!r}; a job's name is written @{selector}")
    if len(selector) < PREFIX_MIN:
        raise typer.BadParameter(f"{selector!r} is too short; give {PREFIX_MIN} characters of the id at least")
    return [selector]


def _newest(client: "Client", filters: dict[str, str | None], nothing: str) -> str:
    for job in client.jobs(filters, limit=1):
        return str(job["id"])
    raise NotFound(nothing)


def complete(incomplete: str) -> list[tuple[str, str]]:
    """For the shell: `last`, and the ids and names of recent jobs. Silent and quick when Core is away."""
    from cli.profiles import connect
    from swarmsync.errors import SwarmError

    offers = [("last", "your newest job")]
    try:
        with connect(patience_s=0.0) as client:
            page = client.get("/v1/jobs", {"limit": 100}, timeout_s=1.0)
        for job in page["items"]:
            offers.append((job["id"], f"{job['state']} {job['name']}"))
            if job["name"]:
                offers.append((f"@{job['name']}", job["state"]))
    except (SwarmError, KeyError, TypeError):
        pass
    return [offer for offer in dict(offers).items() if offer[0].startswith(incomplete)]
