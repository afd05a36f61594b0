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
        images=tuple(row["images"]),
        runtime=row["runtime"],
    )


async def join(store: Store, new_id: int, offer: WorkerOffer, session: str) -> WorkerView:
    """Register the worker of this name, or begin its next session; a cordon survives."""
    capacity = offer.capacity
    rows = await store.change(
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
    await store.change(sql("save_liveness"), ids, [changes[i].value for i in ids])


async def save_drained(store: Store, worker_ids: Sequence[int]) -> None:
    """Note that draining workers are drained; a person's later word (uncordon) is kept."""
    ids = sorted(worker_ids)
    query = "UPDATE workers SET eligibility = 'drained' WHERE id = ANY ($1::bigint[]) AND eligibility = 'draining'"
    await store.change(query, ids)


async def stop_drained(store: Store) -> list[int]:
    """Ask for the stop of what still runs where a drain's deadline has passed; return those jobs."""
    guard = sources(JobState.STOPPING, by=Actor.HARVESTER)
    rows = await store.change(sql("drain_late"), guard, EndReason.WORKER_DRAINED.value)
    return [row["id"] for row in rows]


async def quarantine(store: Store, worker_id: int, why: str, job_id: int) -> bool:
    """Take an open worker out; False where people have decided otherwise. A probe tries the job's image."""
    query = (
        "UPDATE workers SET eligibility = 'quarantined', note = $2, probe_image = COALESCE((SELECT COALESCE(j.image,"
        " s.document::jsonb ->> 'image') FROM jobs j JOIN specs s ON s.id = j.spec_id WHERE j.id = $3), '')"
        " WHERE id = $1 AND eligibility = 'open'"
    )
    return str(await store.run(lambda c: c.execute(query, worker_id, why[:4096], job_id))) != "UPDATE 0"


async def distrust(store: Store, worker_id: int, why: str) -> bool:
    """Cordon a worker until people open it again; no probe does. False where it takes nothing already."""
    query = (
        "UPDATE workers SET eligibility = 'cordoned', note = $2"
        " WHERE id = $1 AND eligibility IN ('open', 'quarantined')"
    )
    return str(await store.run(lambda c: c.execute(query, worker_id, why[:4096]))) != "UPDATE 0"


async def lift(store: Store, worker_id: int) -> bool:
    query = "UPDATE workers SET eligibility = 'open', note = '' WHERE id = $1 AND eligibility = 'quarantined'"
    return str(await store.run(lambda c: c.execute(query, worker_id))) != "UPDATE 0"


async def probes(store: Store) -> list[tuple[int, str]]:
    """Quarantined workers, each with the image that its probe tries."""
    rows = await store.change("SELECT id, probe_image FROM workers WHERE eligibility = 'quarantined'")
    return [(row["id"], row["probe_image"]) for row in rows]


async def save_images(store: Store, images: Mapping[int, Sequence[str]]) -> None:
    query = (
        "UPDATE workers w SET images = ARRAY(SELECT jsonb_array_elements_text(i.names))"
        " FROM unnest($1::bigint[], $2::jsonb[]) AS i (id, names) WHERE w.id = i.id"
    )
    names = [msgspec.json.encode(images[worker_id]).decode() for worker_id in sorted(images)]
    await store.change(query, sorted(images), names)


async def save_pulses(store: Store, ages: Sequence[tuple[int, int]]) -> None:
    """Note when workers were last heard of: (worker id, milliseconds ago)."""
    ordered = sorted(ages)
    await store.change(sql("save_pulses"), [i for i, _ in ordered], [ago for _, ago in ordered])
