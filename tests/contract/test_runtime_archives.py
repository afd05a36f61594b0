"""What every container runtime gives back of a container's files once it has ended."""

import io
import tarfile

import pytest
from runtime_rigs import Rig, new_plan

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem


async def ended(rig: Rig):
    """Return a runtime and a container that has written /out/a.txt and ended."""
    runtime = await rig.new_runtime()
    if rig.kind == "simulated":
        plan = new_plan(environment={"SIM_OUTPUT": "/out/a.txt=hello"})
    else:
        plan = new_plan(command=("sh", "-c", "mkdir -p ./out && printf hello > ./out/a.txt"))
    await runtime.ensure_image(plan.image)
    container_id = await runtime.create(plan)
    await runtime.start(container_id)
    assert (await runtime.wait(container_id)).exit_code == 0
    return runtime, container_id


async def files_of(runtime, container_id: str, path: str) -> dict[str, bytes]:
    data = b"".join([piece async for piece in runtime.archive(container_id, path)])
    if not data:
        return {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}


async def test_a_directory_and_a_file_come_with_names_that_begin_with_their_own(rig: Rig):
    runtime, container_id = await ended(rig)
    assert await files_of(runtime, container_id, "/out") == {"out/a.txt": b"hello"}
    assert await files_of(runtime, container_id, "/out/a.txt") == {"a.txt": b"hello"}


async def test_reading_is_repeatable_also_for_the_next_agent(rig: Rig):
    runtime, container_id = await ended(rig)
    first = await files_of(runtime, container_id, "/out")
    assert await files_of(await rig.new_runtime(), container_id, "/out") == first


async def test_what_is_not_there_is_nothing(rig: Rig):
    runtime, container_id = await ended(rig)
    assert await files_of(runtime, container_id, "/nothing/here") == {}


async def test_a_container_that_is_gone_is_said_to_be(rig: Rig):
    runtime, container_id = await ended(rig)
    await runtime.remove(container_id)
    with pytest.raises(RuntimeProblem) as caught:
        await files_of(runtime, container_id, "/out")
    assert caught.value.reason is EndReason.CONTAINER_REMOVED
