"""`doctor`: everything that a user would have to check, one line each, with what to do about what is wrong."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from cli import cells, exits
from cli.bundles import examples
from cli.documents import CheckDocument, Checkup
from cli.output import emit, styled, to_json, to_yaml

if TYPE_CHECKING:
    from swarmsync.client import Client

app = typer.Typer()
CLOCK_S: Final = 2.0
DISK_FREE_MIN: Final = 2 << 30
SLOW_S: Final = 0.5
_MARKS: Final = {True: ("ok     ", "32"), False: ("FAILED ", "31"), None: ("note   ", "33")}


class Check(NamedTuple):
    """`fine` is None for what is merely worth knowing."""

    name: str
    fine: bool | None
    sentence: str


@app.command("doctor", epilog=examples("consumer doctor", "consumer doctor -o json"))
def doctor(
    output: Annotated[
        Literal["table", "json", "jsonl", "yaml"], typer.Option("-o", "--output", help="How to print.")
    ] = "table",
) -> None:
    """Check profile, Core, its servers, modules and workers, clock, disk and versions; says what to do.

    Exit code 0 when everything is well, 1 when something is not, 6 when Core cannot be reached.
    """
    found: list[Check] = []
    for check in _checks():
        found.append(check)
        if output == "table":
            emit(_line(check))
    items: list[CheckDocument] = [
        {"name": check.name, "fine": check.fine, "sentence": check.sentence} for check in found
    ]
    if output == "jsonl":
        emit("".join(f"{json.dumps(item)}\n" for item in items))
    elif output != "table":
        whole: Checkup = {"items": items}
        emit((to_json if output == "json" else to_yaml)(whole))
    failed = [check for check in found if check.fine is False]
    if any(check.name == "Core" for check in failed):
        raise typer.Exit(6)
    if failed:
        raise typer.Exit(exits.ANSWER_IS_NO)


def _line(check: Check) -> str:
    mark, colour = _MARKS[check.fine]
    shown = f"\x1b[{colour}m{mark}\x1b[0m" if styled() else mark
    return f"{shown}{check.name:<11} {cells.escape(check.sentence)}\n"


def _checks() -> Iterator[Check]:
    """Yield checks from the near to the far; what cannot be asked without Core is left out when Core is away."""
    from cli.profiles import connect
    from swarmsync.errors import NotLoggedIn, SwarmError, Unavailable
    from swarmsync.profiles import current

    try:
        profile, path = current()
    except SwarmError as error:
        yield Check("profile", False, str(error))
        return
    yield profile_check(path, profile.name, profile.url)
    yield disk_check(path, shutil.disk_usage(_existing(path)).free)
    with connect() as client:
        began = time.monotonic()
        try:
            client.get("/healthz")
        except Unavailable as error:
            yield Check("Core", False, f"{error}; start it with swarmsyncd, or set SWARMSYNC_URL")
            return
        yield core_check(profile.url, time.monotonic() - began)
        yield from _servers(client)
        try:
            session = client.session()
        except NotLoggedIn as error:
            yield Check("login", False, f"{error}; log in with: consumer login")
            return
        yield Check("login", True, f"{session.get('username')}, role {session.get('role')}")
        for look in (_version, _clock, _durability, _modules, _workers):
            try:
                yield from look(client)
            except SwarmError as error:
                yield Check(look.__name__.strip("_"), False, str(error))


def _servers(client: "Client") -> Iterator[Check]:
    from swarmsync.errors import Unavailable

    try:
        ready = client.get("/readyz")
    except Unavailable as error:
        yield Check("servers", False, f"{error}; see the logs in Core's data directory")
        return
    for name, shown in (("postgresql", "PostgreSQL"), ("nats", "NATS"), ("redis", "Redis")):
        yield Check(shown, ready.get(name) == "ok", "answers" if ready.get(name) == "ok" else str(ready.get(name)))


def _version(client: "Client") -> Iterator[Check]:
    from importlib.metadata import version

    yield version_check(version("swarmsync"), str(client.get("/v1/openapi.json")["info"]["version"]))


def _clock(client: "Client") -> Iterator[Check]:
    before = datetime.now(UTC)
    theirs = datetime.fromisoformat(client.get("/v1/events/snapshot", {"limit": 1})["at"])
    yield clock_check((before + (datetime.now(UTC) - before) / 2 - theirs).total_seconds())


def _durability(client: "Client") -> Iterator[Check]:
    from swarmsync.errors import NotAllowed

    try:
        yield durability_check(client.get("/v1/durability"))
    except NotAllowed:
        return  # operators are told


def _modules(client: "Client") -> Iterator[Check]:
    from cli.tui.core_board import bottleneck

    name, sentence = bottleneck(client.get("/v1/modules")["items"])
    known = not sentence.startswith("Nothing")
    yield Check("engine", known and not name, sentence + ("" if not name else " See: consumer inspect core"))


def _workers(client: "Client") -> Iterator[Check]:
    yield from worker_checks(list(client.items("/v1/workers")))


# --- what is seen, judged ---------------------------------------------------------------------------------------------


def profile_check(path: Path, name: str, url: str) -> Check:
    if path.exists() and path.stat().st_mode & 0o077:
        return Check("profile", False, f"{path} can be read by others, and it holds a token; chmod 600 {path}")
    return Check("profile", True, f"{name}: {url}" + ("" if path.exists() else f" ({path} does not exist)"))


def disk_check(path: Path, free: int) -> Check:
    if free < DISK_FREE_MIN:
        return Check("disk", False, f"only {free >> 20} MiB free where {path} is; make room")
    return Check("disk", True, f"{free >> 30} GiB free on this machine")


def core_check(url: str, took_s: float) -> Check:
    if took_s > SLOW_S:
        return Check("Core", None, f"{url} answers slowly, in {took_s:.1f} s")
    return Check("Core", True, f"{url} answers in {took_s * 1000:.0f} ms")


def version_check(ours: str, theirs: str) -> Check:
    if ours != theirs:
        return Check("versions", None, f"consumer is {ours}, Core is {theirs}; install the same here")
    return Check("versions", True, f"consumer and Core are {ours}")


def clock_check(ahead_s: float) -> Check:
    if abs(ahead_s) > CLOCK_S:
        where = "ahead of" if ahead_s > 0 else "behind"
        return Check("clock", False, f"this machine is {abs(ahead_s):.1f} s {where} Core; set both by NTP")
    return Check("clock", True, f"{abs(ahead_s) * 1000:.0f} ms from Core's")


def durability_check(found: dict[str, Any]) -> Check:
    advice = f"; {found['remedy']}" if found["remedy"] else ""
    return Check("durability", found["durability"] != "nothing", f"{found['durability']}: {found['sentence']}{advice}")


def worker_checks(workers: list[dict[str, Any]]) -> Iterator[Check]:
    """Judge the workers: whether any can take jobs, what runs them, and who is silent."""
    if not workers:
        yield Check("workers", False, "none has registered; start one with swarmsyncd worker, or Core with one")
        return
    ready = [worker for worker in workers if worker["liveness"] == "ready"]
    able = [worker for worker in ready if worker["eligibility"] == "open"]
    if not able:
        yield Check("workers", False, f"none of {len(workers)} takes jobs; see consumer worker list")
    else:
        yield Check("workers", True, f"{len(able)} of {len(workers)} take jobs")
    silent = [worker["name"] for worker in workers if worker["liveness"] in ("suspect", "lost")]
    if silent:
        yield Check("workers", None, f"silent: {', '.join(silent[:5])}; look at their machines and networks")
    bare = [worker["name"] for worker in ready if worker["runtime"] != "docker"]
    docker = [worker for worker in ready if worker["runtime"] == "docker"]
    if bare:
        yield Check("Docker", None, f"jobs run without it, and without isolation, on {', '.join(bare[:5])}")
    elif docker:
        yield Check("Docker", True, "runs the jobs of every worker that is ready")


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists() and os.access(parent, os.R_OK))
