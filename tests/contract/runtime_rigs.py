"""One kind of container runtime each, and how a container is told there what to do."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable

import msgspec

from worker.container_runtime import ContainerPlan, ContainerRuntime, LogPiece
from worker.demo_image import TAG

UNIQUE = f"{os.getpid():x}{time.time_ns():x}"
numbers = itertools.count(1)

PLAN = ContainerPlan(
    job="",
    attempt=1,
    fence=7,
    session="session-1",
    image=TAG,
    entrypoint=None,
    command=("true",),
    environment={},
    working_dir=None,
    user=None,
    init=True,
    mounts=(),
    network="none",
    cpus_milli=1000,
    memory_bytes=64 << 20,
    pids_max=64,
    gpus=0,
    disk_bytes=None,
    stop_signal="SIGTERM",
    stop_grace_s=5.0,
)


def new_plan(**changes) -> ContainerPlan:
    return msgspec.structs.replace(PLAN, job=f"t{UNIQUE}x{next(numbers)}", **changes)


class Rig:
    """One kind of runtime, and how a container is told there what to do."""

    def __init__(self, kind: str, make: Callable[[], ContainerRuntime], owner: str = "") -> None:
        self.kind, self.owner = kind, owner
        self._make = make
        self._made: list[ContainerRuntime] = []

    async def new_runtime(self) -> ContainerRuntime:
        """A runtime as a newly started agent has it: it knows nothing but what the engine tells."""
        runtime = self._make()
        await runtime.open()
        self._made.append(runtime)
        return runtime

    def plan(self, *, out="", err="", code=0, lives=False, deaf=False, **changes) -> ContainerPlan:
        """A container that writes, and then exits with `code`, or `lives` until it is stopped; `deaf` to SIGTERM."""
        if self.kind == "simulated":
            environment = {"SIM_STDOUT": out, "SIM_STDERR": err, "SIM_EXIT": str(code)}
            environment |= {"SIM_DURATION": "1h"} if lives else {}
            environment |= {"SIM_IGNORE_STOP": "1"} if deaf else {}
            return new_plan(environment=environment, **changes)
        ending = "while :; do sleep 3600; done" if deaf else "exec sleep 3600" if lives else f"exit {code}"
        script = f'{"trap : TERM;" if deaf else ""} printf %s "$OUT"; printf %s "$ERR" >&2; {ending}'
        return new_plan(command=("sh", "-c", script), environment={"OUT": out, "ERR": err}, **changes)

    async def close(self) -> None:
        for runtime in self._made[:1]:
            for observed in await runtime.list():
                await runtime.remove(observed.container_id)
        for runtime in self._made:
            await runtime.close()


async def output_of(runtime: ContainerRuntime, container_id: str, **skip: int) -> dict[str, bytes]:
    written = {"stdout": b"", "stderr": b""}
    async for piece in runtime.logs(container_id, skip=skip):
        written[piece.stream] += piece.data
    return written


async def wait_for_output(runtime: ContainerRuntime, container_id: str, stream: str = "stdout") -> LogPiece:
    """The named signal of these tests: a container says, with a whole line, that it has come this far."""
    async with contextlib.aclosing(runtime.logs(container_id, skip={})) as pieces:
        async for piece in pieces:
            if piece.stream == stream:
                return piece
    raise AssertionError(f"the container ended without a word on {stream}")
