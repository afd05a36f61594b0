"""How JobInspect looks: lanes of workers, what waits and why, the list of jobs, and one job from close by. Pure."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cli import cells
from cli.tui.job_board import JobRow, Lane, seconds
from cli.tui.lines import Line, Page, bar, chosen, frame, key_rows, keys, spread, style_of, text, window
from cli.tui.replay import slider

if TYPE_CHECKING:
    from cli.tui.job_inspect import JobInspect

_GLYPHS: Final = {"starting": "o", "running": "#", "stopping": "x"}
_LIVE_KEYS: Final = (
    ("enter", "open"), ("/", "filter"), ("s", "state"), ("<-", "back in time"), ("esc", "back"), ("q", "quit"),
)  # fmt: skip
_PAST_KEYS: Final = (
    ("space", "pause"), ("+-", "speed"), ("<- ->", "10 s"), ("[ ]", "1 min"), ("l", "live"), ("/", "filter"),
    ("q", "quit"),
)  # fmt: skip
_OPEN_KEYS: Final = (("tab", "detail, why, logs"), ("up down", "scroll"), ("esc", "close"), ("q", "quit"))


def clock(moment: float, *, whole: bool = False) -> str:
    """Return a time in UTC, as `20:51:03`, or whole as RFC 3339."""
    when = datetime.fromtimestamp(moment, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ" if whole else "%H:%M:%S")


def page(model: "JobInspect", columns: int, rows: int, now: float) -> Page:
    shown = model.rows()
    moment = model.replay.playhead if model.replay else now
    head = [_title(model, columns, now), _counts(model, columns)]
    if model.replay:
        head.append(_slider(model, columns, now))
    lanes = _lanes(model, columns, max((rows - 8) // 3, 1))
    waiting = _waiting(model, columns)
    foot = _foot(model, columns)
    fixed = len(head) + len(lanes) + len(waiting) + len(foot) + 1
    room = model.room = max(rows - fixed, 1)
    panel: list[Line] = []
    if model.detail:
        listed = min(max(room // 3, 1), 6, max(len(shown), 1))
        panel = model.detail.lines(columns, max(room - listed, 1))
        room = listed
    listing, targets = _list(model, shown, columns, room, moment)
    start = len(head) + len(lanes) + len(waiting) + 1
    body = [*lanes, *waiting, *listing, *panel]
    cursor = (
        (len("filter: ") + cells.width(model.prompt.value[: model.prompt.place]), rows - 2) if model.prompt else None
    )
    return Page(frame(head, body, foot, columns, rows), {start + row: job for row, job in enumerate(targets)}, cursor)


def _title(model: "JobInspect", columns: int, now: float) -> Line:
    if model.replay:
        state = f"{model.replay.speed}x" if model.replay.playing else "paused"
        when: Line = [("title", f" PAST {clock(model.replay.playhead)} {state} ")]
    elif model.problem:
        when = [("alarm", f" {cells.escape(model.problem)} ")]
    else:
        when = [("title", f" LIVE {clock(now)} ")]
    return spread([("title", " JobInspect ")], when, columns)


def _counts(model: "JobInspect", columns: int) -> Line:
    line: Line = []
    for state, count in model.board.counts().items():
        line += [(style_of(state), f"{state} {count}"), ("", "  ")]
    ended = len(model.board.ended)
    line += [("dim", f"ended lately {ended}")] if ended else []
    if not line:
        line = [("dim", "no job waits or runs")]
    words = model.wanted.words()
    return spread(line, [("warn", f" filter: {cells.escape(words)}")] if words else [], columns)


def _slider(model: "JobInspect", columns: int, now: float) -> Line:
    assert model.replay is not None
    return text(f"past {slider(model.replay.playhead, now, max(columns - 10, 3))} now", "busy")


def _lanes(model: "JobInspect", columns: int, room: int) -> list[Line]:
    """Return the workers that have most to do, as far as there is room."""
    lanes = [
        lane
        for lane in model.board.lanes(model.workers).values()
        if not model.wanted.worker or lane.name == model.wanted.worker
    ]
    if not lanes:
        return [[("dim", "no worker has registered")]]
    size = min(max(len(lane.name) for lane in lanes), 20)
    shown = lanes if len(lanes) <= room else sorted(lanes, key=lambda lane: -len(lane.jobs))[: room - 1]
    lines = [_lane(lane, size, columns) for lane in shown]
    if len(shown) < len(lanes):
        jobs = sum(len(lane.jobs) for lane in lanes) - sum(len(lane.jobs) for lane in shown)
        lines.append([("dim", f"{len(lanes) - len(shown)} more workers with {jobs} jobs")])
    return lines


def _lane(lane: Lane, size: int, columns: int) -> Line:
    share = lane.share()
    condition = lane.worker.get("liveness") or "-"
    if lane.worker.get("eligibility") not in (None, "open"):
        condition = lane.worker["eligibility"]
    load = f"{bar(share, 10)}{round(share * 100):>4}%" if share is not None else " " * 15
    line: Line = [
        ("", f"{cells.cut(cells.escape(lane.name), size):<{size}} "),
        (style_of(condition), f"{condition:<9} "),
        ("bad" if share is not None and share > 1 else "", f"{load} "),
        ("dim", f"{len(lane.jobs):>4} jobs "),
    ]
    left = columns - sum(cells.width(words) for _, words in line) - 1
    if len(lane.jobs) * 14 <= left:
        for job in lane.jobs:
            line.append(
                (style_of(job.state), f"{_GLYPHS[job.state]} {cells.cut(cells.escape(job.label or job.job), 11)} ")
            )
    else:
        for state, glyph in _GLYPHS.items():
            line.append((style_of(state), glyph * sum(job.state == state for job in lane.jobs)))
    return line


def _waiting(model: "JobInspect", columns: int) -> list[Line]:
    """Return why jobs wait: what the Scheduler says now, or what events said then."""
    reasons = model.board.waiting()
    if not model.replay and model.stats.get("waiting"):
        reasons = model.stats["waiting"]
    if not reasons:
        return []
    words = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]))
    return [[("", "waiting for: "), ("warn", cells.cut(cells.escape(words), max(columns - 13, 1)))]]


def _list(
    model: "JobInspect", shown: list[JobRow], columns: int, room: int, moment: float
) -> tuple[list[Line], list[str]]:
    wide = columns >= 120
    head = f"{'JOB':<14}{'NAME':<18}{'STATE':<10}{'REASON':<15}{'WORKER':<12}{'AGE':<6}"
    header: list[Line] = [[("head", head + (f"{'TRY':<4}{'USER':<12}{'QUEUE':<12}MESSAGE" if wide else "TRY"))]]
    if not shown:
        return [*header, [("dim", "nothing to show; esc goes back, / changes the filter")]], []
    place = next((index for index, job in enumerate(shown) if job.job == model.selected), None)
    if place is None:
        place, model.selected = 0, shown[0].job
    model.top = window(len(shown), place, model.top, room)
    part = shown[model.top : model.top + room]
    lines = [_row(job, moment, wide=wide) for job in part]
    return [
        *header,
        *(chosen(line) if job.job == model.selected else line for job, line in zip(part, lines, strict=True)),
    ], [job.job for job in part]


def _row(job: JobRow, moment: float, *, wide: bool) -> Line:
    def cell(words: str, size: int) -> str:
        shown = cells.cut(cells.plain(words), size - 1)
        return shown + " " * (size - cells.width(shown))

    line: Line = [
        ("", cell(job.job, 14) + cell(job.label, 18)),
        (style_of(job.state), cell(job.state, 10)),
        ("", cell(job.reason, 15) + cell(job.worker, 12)),
        ("dim", cell(cells.span(max(moment - seconds(job.at), 0.0)), 6)),
        ("", cell(str(job.attempt), 4)),
    ]
    if wide:
        line.append(("", cell(job.user, 12) + cell(job.queue, 12) + cells.plain(job.message)))
    return line


def _foot(model: "JobInspect", columns: int) -> list[Line]:
    if model.prompt:
        first: Line = [("", f"filter: {cells.escape(model.prompt.value)}")]
        second = keys((("enter", "apply"), ("esc", "leave"), ("e.g.", "user=ann state=queued queue=gpu nightly")))
        return [first, second]
    first = [("warn", cells.escape(model.notice))] if model.notice else [("dim", f"$ {cells.escape(model.command())}")]
    pairs = _OPEN_KEYS if model.detail else _PAST_KEYS if model.replay else _LIVE_KEYS
    return [first, *key_rows(pairs, columns)]
