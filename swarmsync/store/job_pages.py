"""Pages of jobs by keyset, newest first, whatever they are filtered by.

A page is found in two steps: the ids from an index that ends in the order of the list (migration 0014), then the rows
of these ids with what belongs to them. Beside a million finished jobs no filter may walk the table (decision 0032).
Every statement runs as its caller, see lists.py.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from swarmsync import ids
from swarmsync.model.lifecycle import FINAL, PLACED, WAITING, JobState
from swarmsync.store.lists import SELECT, Conditions, Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

#: With the values at hand the planner can use partial indexes, and knows what is rare. What it does not know is what is
#: old: of a join that reads both sides in order it thinks that a page is found soon, and walks to the oldest jobs.
PLANS: Final = {"plan_cache_mode": "force_custom_plan", "enable_mergejoin": "off", "enable_hashjoin": "off"}
#: Lists leave out specs that are larger: a page stays small whatever people submit.
LISTED_SPEC_BYTES_MAX: Final = 16 << 10
_LISTED: Final = SELECT.replace(
    "s.document",
    f"CASE WHEN octet_length(s.document) <= {LISTED_SPEC_BYTES_MAX} THEN s.document END AS document",
)
_IDS: Final = "(SELECT j.id FROM jobs j {labels} {conditions} ORDER BY j.id DESC LIMIT {limit:d})"
_MERGED: Final = "(SELECT j.id FROM ({branches}) AS j ORDER BY j.id DESC LIMIT {limit:d})"
_CODE_POINT_MAX: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


class JobFilter(Struct, frozen=True):
    """Which jobs a list shows; None is no condition. Members of arrays are shown only where `array_id` is given."""

    limit: int
    before_id: int | None = None
    states: tuple[JobState, ...] | None = None
    username: str | None = None
    queue: str | None = None
    name: str | None = None  # a `*` at its end stands for anything
    labels: Mapping[str, str] | None = None  # all of them
    schedule_id: int | None = None
    worker: str | None = None
    since: datetime | None = None
    array_id: int | None = None


async def page(store: Store, caller: Caller, wanted: JobFilter) -> list[Row]:
    """Return up to `limit` + 1 jobs, newest first; the one too many says that there are more."""
    query, values = statement(caller, wanted)
    rows: list[Row] = await store.fetch(query, *values, **caller.settings, **PLANS)
    return rows


def statement(caller: Caller, wanted: JobFilter) -> tuple[str, list[Any]]:
    """Return the statement of one page and its values.

    Each state is asked for by itself and the results are merged: an index on states has the order of the list within
    one state only. So are finished and other jobs where there are indexes of finished ones only, which cost a job one
    entry and not one for each of its states.
    """
    where = Conditions()
    _add_all(where, caller, wanted)
    labels = _add_labels(where, wanted)
    branches = []
    for states in _groups(wanted):
        branch = where.copy()
        _add_states(branch, states)
        where.values = branch.values
        branches.append(_IDS.format(labels=labels, conditions=branch.clause, limit=wanted.limit + 1))
    (found,) = branches if len(branches) == 1 else [_merged(branches, wanted.limit + 1)]
    return f"{_LISTED} JOIN {found} AS k ON k.id = j.id ORDER BY j.id DESC", where.values


def _merged(branches: list[str], limit: int) -> str:
    return _MERGED.format(branches=" UNION ALL ".join(branches), limit=limit)


def _groups(wanted: JobFilter) -> Iterable[tuple[JobState, ...]]:
    """Return the states to ask for, each group by itself; an empty one is all states."""
    if wanted.states is not None:
        states = dict.fromkeys(wanted.states)
        whole = set(FINAL) <= states.keys()  # all that has ended is a list as good as any
        return [*([FINAL] if whole else []), *[(state,) for state in states if not (whole and state in FINAL)]]
    if wanted.worker is not None:  # a job that waits again is on no worker
        return [PLACED, FINAL]
    if wanted.queue is not None:
        return [FINAL, PLACED, *[(state,) for state in WAITING]]
    return [()]


def _add_states(where: Conditions, states: tuple[JobState, ...]) -> None:
    """Say beside the states what follows from them: indexes of finished jobs are used only where that is said."""
    if not states:
        return
    if states != FINAL:
        where.add("j.state = ANY ($::text[])", [state.value for state in states])
    where.plain(f"j.finished_at IS {'NOT NULL' if states[0] in FINAL else 'NULL'}")


def _add_all(where: Conditions, caller: Caller, wanted: JobFilter) -> None:
    where.add("j.user_id = $", None if caller.is_operator else caller.user_id)
    where.add("j.id < $", wanted.before_id)
    if wanted.array_id is None:
        where.plain("j.array_id IS NULL")
    where.add("j.array_id = $", wanted.array_id)
    where.add("j.user_id = (SELECT id FROM users WHERE username = $)", wanted.username)
    where.add("j.queue = $", wanted.queue)
    _add_name(where, wanted.name)
    where.add("j.schedule_id = $", wanted.schedule_id)
    where.add("j.worker_id = (SELECT id FROM workers WHERE name = $)", wanted.worker)
    where.add("j.submitted_at >= $", wanted.since)
    if wanted.since is not None:  # ids begin with the time: this bounds the scan
        oldest_ms = int((wanted.since - timedelta(minutes=5)).timestamp() * 1000) - ids.EPOCH_MS
        where.add("j.id >= $", min(max(oldest_ms, 0) << 22, (1 << 63) - 1))


def _add_name(where: Conditions, name: str | None) -> None:
    """A whole name, or with `*` at its end a beginning: the range of names from it to what comes after all of them."""
    if name is None:
        return
    if not name.endswith("*"):
        where.add('j.name COLLATE "C" = $', name)
    else:
        start = name[:-1]
        where.add('j.name COLLATE "C" >= $', start)
        where.add('j.name COLLATE "C" < $', after_all(start))
    if name not in ("", "*"):
        where.plain("j.name <> ''")  # lets the planner use the index, which holds these rows only


def after_all(start: str) -> str | None:
    """Return the first text in the order of code points that is behind all that begin with `start`; None for no end."""
    for place in reversed(range(len(start))):
        point = ord(start[place]) + 1
        if point in _SURROGATES:
            point = _SURROGATES.stop
        if point <= _CODE_POINT_MAX:
            return start[:place] + chr(point)
    return None


def _add_labels(where: Conditions, wanted: JobFilter) -> str:
    """Ask for all of the labels; return the tables to join, one for each.

    Members of arrays have no rows there; those of one array are few enough to look at.
    """
    joins = []
    for place, (key, value) in enumerate((wanted.labels or {}).items()):
        if wanted.array_id is not None:
            where.add("j.labels ->> $::text = $", key, value)
            continue
        joins.append(f"JOIN job_labels l{place} ON l{place}.job_id = j.id")
        where.add(f"l{place}.key = $ AND l{place}.value = $", key, value)
    return " ".join(joins)
