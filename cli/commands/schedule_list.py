"""`schedule list`, `schedule show`, `schedule history`."""

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.output import Column, Document, ListView, OneView, facts, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect
from cli.schedules import PATH, OneSchedule, resolve_one, schedule_path, until

app = typer.Typer()


def _state(schedule: Document, _now: datetime) -> str:
    if schedule.get("paused"):
        return "paused"
    return "active" if schedule.get("next_fire_at") else "ended"


def _rule(schedule: Document, _now: datetime) -> str:
    if schedule.get("cron"):
        return cells.plain(schedule["cron"])
    return f"at {cells.plain(schedule['at'])}" if schedule.get("at") else f"after {cells.plain(schedule.get('delay'))}"


def _next(schedule: Document, now: datetime) -> str:
    return until(schedule.get("next_fire_at"), now)


def _image(schedule: Document, _now: datetime) -> str:
    return cells.plain((schedule.get("job") or {}).get("image"))


COLUMNS: Final = (
    Column("id"),
    Column("name"),
    Column("rule", _rule),
    Column("timezone"),
    Column("state", _state),
    Column("next", _next),
    Column("local", lambda schedule, _: cells.plain(schedule.get("next_fire_local"))),
    Column("image", _image),
    Column("user", wide=True),
    Column("overlap", wide=True),
    Column("misfire", wide=True),
    Column("misfire_window", wide=True),
    Column("jitter", wide=True),
    Column("age", lambda schedule, now: cells.age(schedule.get("created_at"), now), wide=True),
)
HISTORY_COLUMNS: Final = (
    Column("due_at"),
    Column("outcome"),
    Column("late", lambda entry, _: _lateness(entry)),
    Column("job", lambda entry, _: cells.plain(entry.get("job_id"))),
    Column("reason"),
    Column("fired_at", wide=True),
    Column("message", wide=True),
)
LIST_EXAMPLES = examples(
    "consumer schedule list",
    "consumer schedule list --paused -o wide",
    "consumer cron list --columns id,name,cron,next_fire_at,job.image",
    "consumer schedule list --watch",
)


@app.command("list", epilog=LIST_EXAMPLES)
@bundled
def list_schedules(
    *,
    view: ListView,
    name: Annotated[str, typer.Option("--name", help="Schedules of this name; * at its end is anything.")] = "",
    paused: Annotated[bool, typer.Option("--paused", help="Only paused ones.")] = False,
    active: Annotated[bool, typer.Option("--active", help="Only those that are not paused.")] = False,
    user: Annotated[str, typer.Option("--user", "-u", help="Schedules of this user.")] = "",
) -> None:
    """List schedules, newest first, with their next fire."""
    if paused and active:
        raise typer.BadParameter("give --paused or --active, not both")
    wanted = "true" if paused else "false" if active else ""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, PATH, {"name": name, "paused": wanted, "user": user}))


@app.command("show", epilog=examples("consumer schedule show nightly", "consumer schedule show last -o json"))
@bundled
def show(schedule: OneSchedule, view: OneView) -> None:
    """Show one schedule with its next fire and its job."""
    with connect() as client:
        show_one(view, client.get(schedule_path(resolve_one(client, schedule))), _describe)


HISTORY_EXAMPLES = examples(
    "consumer schedule history nightly",
    "consumer schedule history last -o json --limit 500",
)


@app.command("history", epilog=HISTORY_EXAMPLES)
@bundled
def history(schedule: OneSchedule, view: ListView) -> None:
    """Show what became of every instant at which a schedule was due, newest first."""
    with connect() as client:
        path = schedule_path(resolve_one(client, schedule), "history")
        show_list(view, HISTORY_COLUMNS, pages_of(client, path, {}))


def _lateness(entry: Document) -> str:
    late_ms = entry.get("lateness_ms")
    if late_ms is None:
        return "-"
    return f"{late_ms}ms" if late_ms < 1_000 else cells.span(late_ms / 1_000)


def _describe(schedule: Document) -> str:
    now = datetime.now(UTC)
    plain = cells.plain
    following = schedule.get("next_fire_at")
    text = facts(
        [
            ("Id", plain(schedule["id"])),
            ("Name", plain(schedule["name"])),
            ("User", plain(schedule["user"])),
            ("State", _state(schedule, now)),
            ("Rule", _rule(schedule, now)),
            ("Time zone", plain(schedule.get("timezone"))),
            (
                "Next fire",
                f"{until(following, now)}, {plain(schedule.get('next_fire_local'))}" if following else "",
            ),
            ("Next fire UTC", plain(following)),
            ("Overlap", plain(schedule.get("overlap"))),
            ("Misfire", _misfire(schedule)),
            ("Jitter", "" if schedule.get("jitter") in (None, "0s") else f"up to {plain(schedule['jitter'])}"),
            ("Last due", _last(schedule)),
            ("Start", plain(schedule.get("start"))),
            ("End", plain(schedule.get("end"))),
            ("Created", plain(schedule.get("created_at"))),
        ]
    )
    job = "".join(f"  {cells.escape(line)}\n" for line in to_yaml(schedule["job"]).splitlines())
    return f"{text}\nJob:\n{job}"


def _last(schedule: Document) -> str:
    """Return what became of the latest due instant: `fired 2026-... JOB`."""
    parts = [schedule[name] for name in ("last_outcome", "last_due_at", "last_job_id") if schedule.get(name)]
    return " ".join(map(cells.plain, parts))


def _misfire(schedule: Document) -> str:
    window = schedule.get("misfire_window")
    return cells.plain(schedule.get("misfire")) + (f", within {cells.plain(window)}" if window else "")
