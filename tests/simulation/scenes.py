"""Small worlds for named tests: nothing breaks by itself, and a test says what happens when."""

from collections.abc import Callable
from typing import Any

from agent import Agent
from machine import Behaviour
from rows import Broken
from settings import SimSettings
from world import World

from swarmsync.model.fields import Duration
from swarmsync.model.job import JobRef
from swarmsync.model.spec import JobSpec, Retry, Stop


class Scene(World):
    """A world without faults of its own; `behaviours` says what the containers of a job do, failure after failure."""

    def __init__(self, seed: int = 1, **knobs: Any) -> None:
        self.behaviours: dict[int, tuple[Behaviour, ...]] = {}
        super().__init__(seed, SimSettings(**{"workers": 2, "jobs": 0, **knobs}), {})

    def behaviour_of(self, ref: JobRef) -> Behaviour:
        each = self.behaviours[ref.job_id]
        return each[min(self.checks.own_failures.get(ref.job_id, 0), len(each) - 1)]

    def submit(
        self,
        count: int = 1,
        *behaviours: Behaviour,
        run_at: int | None = None,
        array: bool = False,
        after: tuple[tuple[int, str], ...] = (),
        **spec: Any,
    ) -> list[int]:
        """Submit plain jobs at once and return their ids; the first is that of the array, where they are one."""
        if after:
            self.until(lambda: all(parent_id in self.store.tables.jobs for parent_id, _ in after))
        spec = {"retry": Retry(attempts=1), "stop": Stop(grace=Duration(2_000)), **spec}
        rows = self.people.rows_of(JobSpec(image="image", **spec), "good", count, run_at, array=array)
        for row in rows:
            row.after, row.state = after, "blocked" if after else row.state
            self.behaviours[row.id] = behaviours or (Behaviour(1_000),)
        self.people.life.run(self.people.submit_rows(rows))
        return [row.id for row in rows]

    def run_for(self, milliseconds: int) -> None:
        self.run_until(lambda: False, self.timeline.now_ms + milliseconds)

    def until(self, condition: Callable[[], bool], within_ms: int = 60_000) -> None:
        """Go on until something is so. Raises Broken when it does not come."""
        self.run_until(condition, self.timeline.now_ms + within_ms, every=1)
        if not condition():
            raise Broken(f"it did not come in {within_ms} ms\n{self.timeline.tail()}")

    def state(self, job_id: int) -> str:
        row = self.store.tables.jobs.get(job_id)
        return row.state if row is not None else "unknown"

    def all_are(self, job_ids: list[int], state: str) -> bool:
        return all(self.state(job_id) == state for job_id in job_ids)

    def agent_of(self, job_id: int) -> Agent:
        """The agent of the worker that the job was given to."""
        worker_id = self.store.tables.jobs[job_id].worker_id
        return next(agent for name, agent in self.agents.items() if self.worker_id(name) == worker_id)

    def cut(self, agent: Agent, how: str = "drop", *, up: bool = True, down: bool = True) -> None:
        self.network.cut(agent.connection, up=how if up else "", down=how if down else "")

    def heal_and_stop(self, job_ids: list[int]) -> None:
        """Cancel these, heal everything; raises Broken when not all ends or something is left over."""
        self.heal()
        for job_id in job_ids:
            self.people.kill(job_id)
        self.heal_and_run()
