"""What waits for what: rows of `job_dependencies`, made with the job and settled when a parent has ended.

Whoever ends a job has its children looked at, and a new child has its parents looked at once it is committed: one of
the two sees both. A sweep finds what nobody told.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync import ids
from swarmsync.errors import FieldError, SpecError
from swarmsync.model.lifecycle import Actor, EndReason, JobState, sources
from swarmsync.model.spec import After
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

SWEEP_MAX: Final = 5_000
NO_MEMBERS: Final[Mapping[str, int]] = MappingProxyType({})
_SIBLING: Final = re.compile(r"#\d{1,6}", re.ASCII)
_MEMBER: Final = re.compile(r"([0-9a-z]{1,13})\[(\d{1,9})\]")
_MEMBERS: Final = """
    SELECT wanted.name, j.id FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS wanted (name, array_id, place)
    JOIN jobs j ON j.array_id = wanted.array_id AND j.array_index = wanted.place
"""
_WAITED_FOR: Final = "SELECT EXISTS (SELECT FROM job_dependencies WHERE parent_id = ANY ($1::bigint[]) AND met IS NULL)"
_BLOCKED: Final = sources(JobState.QUEUED, by=Actor.HARVESTER)
_CANCELLED: Final = sources(JobState.CANCELLED, by=Actor.HARVESTER)


class Dependency(Struct, frozen=True):
    job_id: int
    parent_id: int
    condition: str


class Released(Struct, frozen=True):
    """What became of jobs whose parents have ended."""

    changed: list[int]  # jobs with a new state
    ended: list[int]  # of these, the jobs that ended because a condition can never hold


def parent_of(after: After, siblings: Sequence[int], members: Mapping[str, int] = NO_MEMBERS) -> int | None:
    """Read an id, or `#N` for the Nth job of the same request, counted from 0; None for what is neither.

    `members` are the ids of what is written `ID[7]`.
    """
    index = sibling_of(after)
    if index is not None:
        return siblings[index] if index < len(siblings) else None
    return members.get(after.job) or ids.decode(after.job)


def sibling_of(after: After) -> int | None:
    """Return the place in the request of a parent that is written `#N`."""
    return int(after.job[1:]) if _SIBLING.fullmatch(after.job) else None


async def parents_of(connection: asyncpg.Connection, wanted: Sequence[After]) -> list[int | None]:
    """Return the ids that these name, as `parent_of` does where nothing else is in the request."""
    members = await _members(connection, wanted)
    return [parent_of(entry, (), members) for entry in wanted]


async def _members(connection: asyncpg.Connection, wanted: Iterable[After]) -> dict[str, int]:
    """Return the ids of the members of arrays that are named as `ID[7]`, as far as they are there and the caller's."""
    named = {entry.job: match for entry in wanted if (match := _MEMBER.fullmatch(entry.job))}
    if not named:
        return {}
    arrays = [ids.decode(match[1]) for match in named.values()]
    indexes = [int(match[2]) for match in named.values()]
    found = await connection.fetch(_MEMBERS, list(named), arrays, indexes)
    return {row["name"]: row["id"] for row in found}


async def check(
    connection: asyncpg.Connection, wanted: Sequence[tuple[int, Sequence[After], str]], siblings: Sequence[int]
) -> list[Dependency]:
    """Return the dependencies of new jobs, given as (id, after, path).

    Raises SpecError for a parent that is not there, or not the caller's, or comes later in the same request.
    """
    own = set(siblings)
    needs: list[tuple[Dependency, str]] = []
    errors: list[FieldError] = []
    members = await _members(connection, (entry for _, after, _ in wanted for entry in after))
    for job_id, after, root in wanted:
        for index, entry in enumerate(after):
            parent = parent_of(entry, siblings, members)
            path = f"{root}.after[{index}].job"
            if parent is None or (parent in own and parent >= job_id):
                errors.append(FieldError(path, f"there is no job {entry.job[:40]!r} before this one"))
            else:
                needs.append((Dependency(job_id, parent, entry.when), path))
    outside = sorted({need.parent_id for need, _ in needs} - own)
    if outside:
        query = "SELECT id FROM jobs WHERE id = ANY ($1::bigint[]) "
        there = {row["id"] for row in await connection.fetch(query, outside)} | own
        for need, path in needs:
            if need.parent_id not in there:
                errors.append(FieldError(path, f"there is no job {ids.encode(need.parent_id)!r}"))
    if errors:
        raise SpecError(errors[:20])
    return list({(need.job_id, need.parent_id): need for need, _ in needs}.values())


async def insert(connection: asyncpg.Connection, user_id: int, needs: Sequence[Dependency]) -> None:
    if needs:
        await connection.executemany(
            "INSERT INTO job_dependencies (user_id, job_id, parent_id, condition) VALUES ($1, $2, $3, $4)",
            [(user_id, need.job_id, need.parent_id, need.condition) for need in needs],
        )


async def release(store: Store, parent_ids: Sequence[int]) -> Released:
    """Settle what waits for these jobs, of which some have ended; ended children are parents in their turn.

    Jobs whose conditions all hold are queued (or scheduled, where their time is to come); those with one that can never
    hold are cancelled. Safe to repeat.
    """
    changed: list[int] = []
    ended: list[int] = []
    look = list(parent_ids)
    while look and await store.fetchval(_WAITED_FOR, look):
        won = await store.run(partial(_release, parent_ids=look))
        look = [row["id"] for row in won if row["state"] == JobState.CANCELLED and row["own"]]
        changed += [row["id"] for row in won]
        ended += [row["id"] for row in won if row["state"] == JobState.CANCELLED]
    return Released(changed, ended)


async def _release(connection: asyncpg.Connection, parent_ids: Sequence[int]) -> list[Mapping[str, Any]]:
    children = await connection.fetch(sql("dependencies_met"), parent_ids)
    if not children:
        return []
    never: dict[int, str | None] = {}
    for row in children:
        if not row["met"]:
            parent = ids.encode(row["parent_id"])
            never[row["job_id"]] = (
                f"waited for job {parent} to have {row['condition']}, but it is {row['parent_state']}"
            )
        else:
            never.setdefault(row["job_id"], None)
    jobs = sorted(never)
    rows: list[Mapping[str, Any]] = await connection.fetch(
        sql("dependencies_release"),
        jobs,
        [never[job_id] for job_id in jobs],
        _BLOCKED,
        _CANCELLED,
        EndReason.DEPENDENCY_FAILED.value,
    )
    return rows


async def overlooked(store: Store, job_ids: Sequence[int] | None = None) -> list[int]:
    """Return parents, up to SWEEP_MAX, that have ended although somebody (of `job_ids`) waits for them."""
    if job_ids is not None:
        await store.fetch(sql("dependencies_renote"), job_ids)
    rows = await store.fetch(sql("dependencies_overlooked"), job_ids, SWEEP_MAX)
    return [row["parent_id"] for row in rows]
