"""The engine's reads and writes of workers."""

from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from swarmsync.model.lifecycle import Actor, Eligibility, EndReason, JobState, Liveness, sources
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.store.jobs import need_of
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql


def view_of(row: asyncpg.Record) -> WorkerView:
    return WorkerView(
        row["id"],
        row["name"],
        need_of(row),
        msgspec.json.decode(row["labels"], type=dict[str, str]),
        Liveness(row["liveness"]),
        Eligibility(row["eligibility"]),
        runtime=row["runtime"],
    )


async def join(store: Store, new_id: int, offer: WorkerOffer, session: str) -> WorkerView:
    """Register the worker of this name, or begin its next session; a cordon survives."""
    capacity = offer.capacity
    rows = await store.run(
        lambda c: c.fetch(
            sql("join_worker"),
            new_id,
            offer.name,
            capacity.cpus_milli,
            capacity.memory_bytes,
            capacity.gpus,
            capacity.disk_bytes,
            msgspec.json.encode(offer.labels).decode(),
            offer.runtime,
            offer.version,
            session,
        )
    )
    row = rows[0]
    return WorkerView(
        row["id"],
        offer.name,
        capacity,
        msgspec.json.decode(row["labels"], type=dict[str, str]),
        Liveness.READY,
        Eligibility(row["eligibility"]),
        runtime=offer.runtime,
    )


async def load(store: Store) -> list[tuple[WorkerView, str]]:
    """All registered workers, each with its present session."""
    return [(view_of(row), row["session"]) for row in await store.fetch(sql("load_workers"))]


async def save_liveness(store: Store, changes: Mapping[int, Liveness]) -> None:
    ids = sorted(changes)
    await store.run(lambda c: c.execute(sql("save_liveness"), ids, [changes[i].value for i in ids]))


async def save_drained(store: Store, worker_ids: Sequence[int]) -> None:
    """Note that draining workers are drained; a person's later word (uncordon) is kept."""
    ids = sorted(worker_ids)
    query = "UPDATE workers SET eligibility = 'drained' WHERE id = ANY ($1::bigint[]) AND eligibility = 'draining'"
    await store.run(lambda c: c.execute(query, ids))


async def stop_drained(store: Store) -> list[int]:
    """Ask for the stop of what still runs where a drain's deadline has passed; return those jobs."""
    guard = sources(JobState.STOPPING, by=Actor.HARVESTER)
    rows = await store.run(lambda c: c.fetch(sql("drain_late"), guard, EndReason.WORKER_DRAINED.value))
    return [row["id"] for row in rows]


async def save_pulses(store: Store, ages: Sequence[tuple[int, int]]) -> None:
    """Note when workers were last heard of: (worker id, milliseconds ago)."""
    ordered = sorted(ages)
    await store.run(lambda c: c.execute(sql("save_pulses"), [i for i, _ in ordered], [ago for _, ago in ordered]))
