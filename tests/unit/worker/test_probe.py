"""A probe passes where a container could be started, and leaves nothing behind."""

import pytest

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem
from worker.probe import probe
from worker.simulated_runtime import SimulatedRuntime

R = EndReason


class Runtime(SimulatedRuntime):
    def __init__(self, call="", problem=None):
        super().__init__()
        self._call, self._problem = call, problem

    def _maybe(self, call):
        if call == self._call:
            raise self._problem

    async def ensure_image(self, image, auth=None):
        self._maybe("ensure_image")
        return await super().ensure_image(image, auth)

    async def create(self, plan):
        self._maybe("create")
        return await super().create(plan)

    async def start(self, container_id):
        self._maybe("start")
        await super().start(container_id)


@pytest.mark.parametrize(
    ("call", "problem", "said"),
    [
        ("", None, ""),
        ("start", RuntimeProblem(R.START_FAILED, "no such file", exit_code=127), ""),
        ("start", RuntimeProblem(R.START_FAILED, "no runc", retryable=True), "no runc"),
        ("create", RuntimeProblem(R.CREATE_FAILED, "no space left", retryable=True), "no space left"),
        ("ensure_image", RuntimeProblem(R.IMAGE_PULL_FAILED, "the registry is away"), "the registry is away"),
        ("ensure_image", RuntimeProblem(R.IMAGE_UNAUTHORIZED, "not for you"), ""),
    ],
)
async def test_a_probe(call, problem, said):
    runtime = Runtime(call, problem)
    assert await probe(runtime, "app:1", 1, "s") == said
    assert await runtime.list() == []
    assert await probe(runtime, "-", 2, "s") == ""
