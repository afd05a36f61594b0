"""What becomes of due instants. Pure: schedules and the time go in, lines of the ledger and next fires come out.

An instant is *late* when it is looked at more than LATE after it was due; the misfire policy decides about late ones,
then the overlap policy about all that are to run. One turn takes all instants of a schedule that have passed, so that
the newest are known; of a very long absence it takes the oldest SCAN_MAX - RECENT and is called again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from swarmsync.model.fire import DueSchedule, Fire, Turn
from swarmsync.model.resources import format_duration
from swarmsync.model.schedule import Outcome, fires, jitter_of, seconds_text

LATE: Final = timedelta(seconds=5)
LATE_RUNS_MAX: Final = 100  # of one catch-up, the newest
LINES_MAX: Final = 1_000  # of one catch-up, the newest; older instants share one line
SCAN_MAX: Final = 5_000
JOBS_MAX: Final = 20_000  # in one transaction; what is beyond waits for the next


def decide(due: Iterable[DueSchedule], now: datetime) -> list[Turn]:
    """Return a turn for each schedule, in order, until they would make too many jobs; the rest stays due."""
    turns: list[Turn] = []
    jobs = 0
    for schedule in due:
        try:
            turn = take(schedule, now)
        except (LookupError, ValueError, OSError) as problem:  # a time zone that this machine does not know any more
            turn = _broken(schedule, problem)
        jobs += _size(schedule) * sum(1 for fire in turn.fires if fire.run_at is not None)
        if turns and jobs > JOBS_MAX:
            break
        turns.append(turn)
    return turns


def _size(due: DueSchedule) -> int:
    """Return how many rows of jobs one instant makes."""
    array = due.spec.job.array
    return 1 if array is None else 1 + len(array.indexes())


def _broken(due: DueSchedule, problem: Exception) -> Turn:
    text = f"stopped: its next instant cannot be found ({problem}); update it"
    return Turn(due, (Fire(due.due_at, Outcome.MISSED, "broken", text[:1024]),), due.due_at, None)


def take(due: DueSchedule, now: datetime) -> Turn:
    """Decide about every instant of one schedule from its next fire until now."""
    passed, next_fire_at = _passed(due, now)
    if len(passed) > SCAN_MAX:
        keep = SCAN_MAX - LINES_MAX
        passed, next_fire_at = passed[:keep], passed[keep]
        return Turn(due, (_merged(passed, *_no_run(due, now, passed[0])),), passed[-1], next_fire_at)
    lines: list[Fire] = []
    if len(passed) > LINES_MAX:
        old = passed[: len(passed) - LINES_MAX]
        lines.append(_merged(old, *_no_run(due, now, old[0])))
    recent = passed[-LINES_MAX:]
    lines += _decided(due, now, recent)
    runs = [line for line in lines if line.run_at is not None]
    replaces = bool(runs) and due.active and due.spec.overlap == "replace"
    return Turn(due, tuple(lines), passed[-1], next_fire_at, replaces)


def _passed(due: DueSchedule, now: datetime) -> tuple[list[datetime], datetime | None]:
    """Return the instants that have passed, oldest first, and the next one (None: there is none)."""
    passed = [due.due_at]
    if not due.spec.once:
        for moment in fires(due.spec, due.due_at, name_hash_source=due.spec.name):
            if moment > now:
                return passed, moment
            passed.append(moment)
            if len(passed) > SCAN_MAX:
                break
    return passed, None


def _decided(due: DueSchedule, now: datetime, instants: Sequence[datetime]) -> list[Fire]:
    if due.paused:
        return [Fire(moment, *_paused()) for moment in instants]
    runs = _runs(due, now, instants)
    newest = max(runs, default=None)
    lines, active, waiting = [], due.active, due.waiting
    for moment in instants:
        late = now - moment > LATE
        if moment not in runs:
            lines.append(Fire(moment, *_no_run(due, now, moment)))
            continue
        busy = due.active if late else active  # what one catch-up starts does not stand in its own way
        match due.spec.overlap:
            case "skip" if busy:
                lines.append(_skipped(moment, "the job before it has not ended"))
                continue
            case "queue" if waiting:
                lines.append(_skipped(moment, "another instant waits already for the job before it to end"))
                continue
            case "queue" if busy:
                lines.append(Fire(moment, Outcome.WAITING, "overlap", "waits for the job before it to end"))
                waiting = True
                continue
            case "replace" if moment != newest:
                lines.append(_skipped(moment, "replaced at once by the instant after it"))
                continue
        lines.append(_run(due, now, moment))
        active = True
    return lines


def _runs(due: DueSchedule, now: datetime, instants: Sequence[datetime]) -> set[datetime]:
    """Return the instants that run as far as the misfire policy is concerned."""
    most = max(1, min(LATE_RUNS_MAX, JOBS_MAX // _size(due)))  # large arrays: one transaction must stay short
    on_time = [moment for moment in instants if now - moment <= LATE][-most:]
    window = timedelta(milliseconds=due.spec.misfire_window)
    late = [moment for moment in instants if LATE < now - moment <= window]
    match due.spec.misfire:
        case "none":
            late = []
        case "last":
            late = [] if on_time else late[-1:]
        case "all":
            late = late[-most:]
    return {*on_time, *late}


def _run(due: DueSchedule, now: datetime, moment: datetime) -> Fire:
    run_at = moment + jitter_of(due.schedule_id, moment, due.spec.jitter)
    if now - moment > LATE:
        return Fire(moment, Outcome.LATE, "misfire", f"{seconds_text(now - moment)} after its instant", run_at)
    return Fire(moment, Outcome.FIRED, run_at=run_at)


def _skipped(moment: datetime, message: str) -> Fire:
    return Fire(moment, Outcome.SKIPPED, "overlap", message)


def _paused() -> tuple[Outcome, str, str]:
    return Outcome.SKIPPED, "paused", "the schedule is paused"


def _no_run(due: DueSchedule, now: datetime, moment: datetime) -> tuple[Outcome, str, str]:
    """Say why this instant gets no job although nothing is in its way."""
    if due.paused:
        return _paused()
    spec = due.spec
    limit = (Outcome.MISSED, "limit", "too many jobs at once; only the newest instants run")
    if now - moment <= LATE:
        return limit
    if now - moment > timedelta(milliseconds=spec.misfire_window) and spec.misfire != "none":
        return Outcome.MISSED, "window", f"older than the misfire window of {format_duration(spec.misfire_window)}"
    match spec.misfire:
        case "none":
            return Outcome.MISSED, "policy", "late, and late instants do not run (misfire: none)"
        case "last":
            return Outcome.MISSED, "policy", "late, and only the last instant runs (misfire: last)"
        case _:
            return limit


def _merged(instants: Sequence[datetime], outcome: Outcome, reason: str, message: str) -> Fire:
    """One line for many instants; its instant is the first of them."""
    text = f"{message}; stands for {len(instants)} instants, the last at {instants[-1]:%Y-%m-%d %H:%M:%S} UTC"
    return Fire(instants[0], outcome, reason, text)
