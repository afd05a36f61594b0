"""Containers of ours that no assignment knows: a create that was answered too late leaves one. They are removed."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final

import structlog

from swarmsync import ids
from swarmsync.model.job import JobRef
from worker.container_runtime import ContainerRuntime, RuntimeProblem
from worker.plans import ref_of

LOOK_EVERY_S: Final = 60.0

log = structlog.get_logger()


async def orphans(runtime: ContainerRuntime, held: Collection[JobRef]) -> dict[str, JobRef]:
    """Return the containers, by id, that stand for an assignment which is not held (any more)."""
    refs = {seen.container_id: ref_of(seen.job, seen.fence) for seen in await runtime.list()}
    return {container_id: ref for container_id, ref in refs.items() if ref is not None and ref not in held}


async def remove_orphans(runtime: ContainerRuntime, held: Callable[[], Collection[JobRef]]) -> None:
    """Look from time to time; what is seen twice goes: the first time it may just be on its way out."""
    before: dict[str, JobRef] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        with contextlib.suppress(RuntimeProblem):  # another time
            found = await orphans(runtime, held())
            for container_id in sorted(found.keys() & before.keys()):
                ref = found[container_id]
                log.warning(
                    "a container that belongs to no assignment is removed",
                    container=container_id,
                    job=ids.encode(ref.job_id),
                    fence=ref.fence,
                )
                await runtime.remove(container_id)
            before = found
