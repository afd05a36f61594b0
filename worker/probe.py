"""A container that shows whether this worker can run containers: Core asks for it while the worker is quarantined."""

import asyncio
from typing import Final

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import ContainerPlan, ContainerRuntime, RuntimeProblem

#: Stands in the place of a job's id; no job has such an id.
PROBE_JOB: Final = "probe"
PROBE_MAX_S: Final = 60.0
#: Not there on purpose: that the engine says so proves that it came as far as starting a command in a new container.
_NO_COMMAND: Final = "/swarmsync-probe"
_COMMAND_FAILED: Final = (126, 127)
#: The registry answered; that this image is not for us is nothing of this machine's.
_ANSWERED: Final = (EndReason.IMAGE_NOT_FOUND, EndReason.IMAGE_UNAUTHORIZED)


async def probe(runtime: ContainerRuntime, image: str, number: int, session: str) -> str:
    """Pull, create, start and remove; return "" when that works, else what does not."""
    try:
        async with asyncio.timeout(PROBE_MAX_S):
            await _try(runtime, image, number, session)
    except RuntimeProblem as problem:
        if problem.reason in _ANSWERED:
            return ""
        return problem.message
    except TimeoutError:
        return f"it took longer than {PROBE_MAX_S:g} s"
    return ""


async def _try(runtime: ContainerRuntime, image: str, number: int, session: str) -> None:
    await runtime.list()
    if image == "-":
        return
    await runtime.ensure_image(image)
    container_id = await runtime.create(_plan(image, number, session))
    try:
        await runtime.start(container_id)
    except RuntimeProblem as problem:
        if problem.exit_code not in _COMMAND_FAILED:
            raise
    finally:
        await runtime.remove(container_id)


def _plan(image: str, number: int, session: str) -> ContainerPlan:
    return ContainerPlan(
        job=PROBE_JOB,
        attempt=number,
        fence=number,
        session=session,
        image=image,
        entrypoint=(_NO_COMMAND,),
        command=(),
        environment={},
        working_dir=None,
        user=None,
        init=False,
        mounts=(),
        network="none",
        cpus_milli=100,
        memory_bytes=16 << 20,
        pids_max=16,
        gpus=0,
        disk_bytes=None,
        stop_signal="SIGKILL",
        stop_grace_s=0,
    )
