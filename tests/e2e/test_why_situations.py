"""Forty situations with known causes: `why` names the right one, with the right numbers; and what `plan` says comes true."""

import contextlib
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarmsync.errors import Conflict
from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = pytest.mark.e2e

LONG = {"SIM_DURATION": "600s"}
TINY = {"cpus": 0.01, "memory": "8MiB"}
STARTED = ("starting", "running", "succeeded")


class Scene:
    """A Core with three simulated workers of 4 cpus and 8 GiB, and what was asked of it."""

    def __init__(self, core: CoreProcess) -> None:
        self.core = core
        self.client = core.client()
        self.made: list[str] = []
        self.expected: list[tuple[str, str, str]] = []  # job, reason, what its message says

    def submit(self, **spec: Any) -> str:
        spec = {"image": "sim", "environment": LONG, "resources": TINY, **spec}
        self.made.append(self.client.submit(spec)["id"])
        return self.made[-1]

    def running(self, **spec: Any) -> str:
        job_id = self.submit(**spec)
        wait_until(lambda: self.client.job(job_id)["state"] == "running", 60)
        return job_id

    def expect(self, reason: str, says: str, job: str) -> None:
        self.expected.append((job, reason, says))

    def why(self, job_id: str) -> dict[str, Any]:
        return self.client.get(f"/v1/jobs/{job_id}/why")

    def hits(self, job_id: str, reason: str, says: str) -> bool:
        told = [b for b in self.why(job_id)["blockers"] if b["reason"] == reason]
        return any(re.search(says, blocker["message"]) for blocker in told)

    def check(self) -> int:
        """Return how many situations were told right; a wrong one fails with what was said instead."""
        expected, self.expected = self.expected, []
        wrong = []
        for job_id, reason, says in expected:
            deadline = time.monotonic() + 60
            while not self.hits(job_id, reason, says) and time.monotonic() < deadline:
                pass
            answer = self.why(job_id)
            first = next(iter(answer["blockers"]), {"reason": "-"})
            if not self.hits(job_id, reason, says) or (first["reason"] != reason and first.get("blocking", True)):
                wrong.append((reason, says, answer["blockers"]))
        assert wrong == []
        return len(expected)

    def clear(self) -> None:
        for job_id in self.made:
            with contextlib.suppress(Conflict):  # it has ended, by itself or with a job that it waits for
                self.client.act(job_id, "kill")
        wait_until(lambda: all(self.client.job(job_id)["finished_at"] for job_id in self.made), 60)
        self.made.clear()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    config = '[worker]\nruntime = "simulated"\nname = "sim"\nsimulated_count = 3\ncpus = 4\nmemory = "8GiB"\n'
    core = CoreProcess(tmp_path_factory.mktemp("why"), config)
    try:
        core.start()
        core.ready(3)
        yield Scene(core)
    finally:
        core.let_go()


def never_anywhere(scene: Scene) -> None:
    for cpus in (5, 8, 64):
        said = rf"no registered worker has {cpus} cpus \(largest 4\); 3 workers"
        scene.expect("Unsatisfiable", said, scene.submit(resources={"cpus": cpus}))
    for memory in (9, 100):
        said = rf"no registered worker has {memory}GiB memory \(largest 8GiB\)"
        scene.expect("Unsatisfiable", said, scene.submit(resources={"cpus": 1, "memory": f"{memory}GiB"}))
    scene.expect("Unsatisfiable", r"2 gpus \(largest 0\)", scene.submit(resources={"gpus": 2}))
    constraint = "worker.label.zone == mars"
    scene.expect("Unsatisfiable", "zone == mars", scene.submit(constraints=[constraint]))


def not_yet(scene: Scene) -> None:
    for more in ({}, {"delay": "1h"}, {"priority": 99}):
        job = scene.submit(**more) if more.get("delay") else scene.submit(**more, resources={"cpus": 64})
        scene.client.act(job, "hold")
        scene.expect("Held", "held by", job)
    for delay in ("10m", "2h", "3d"):
        job = scene.submit(delay=delay)
        scene.expect("StartTime", re.escape(scene.client.job(job)["run_at"]), job)
    for attempts in (2, 3, 5):
        retry = {"attempts": attempts, "delay": "10m", "jitter": 0}
        job = scene.submit(environment={"SIM_EXIT": "3"}, retry=retry)
        wait_until(lambda job=job: scene.client.job(job)["state"] == "scheduled", 60)
        scene.expect("RetryBackoff", rf"attempt 1 of {attempts} failed \(ExitCode: exit code 3\).* in 600 s", job)


def after_others(scene: Scene) -> None:
    held, running = scene.submit(delay="5h"), scene.running()
    for when in ("succeeded", "finished"):
        job = scene.submit(after=[{"job": running, "when": when}])
        scene.expect("Dependency", rf"waits for job {running} to have {when} \(it is running\)", job)
    both = scene.submit(after=[{"job": held}, {"job": running}])
    scene.expect("Dependency", rf"2 jobs: job {held} .*it is scheduled.*job {running} .*it is running", both)
    failed = scene.submit(after=[{"job": held, "when": "failed"}])
    scene.expect("Dependency", rf"job {held} to have failed", failed)


def at_limits(scene: Scene) -> None:
    for limit in (1, 2, 3):
        key = {"key": f"key-{limit}", "limit": limit}
        for _ in range(limit):
            scene.running(concurrency=key)
        scene.expect("ConcurrencyLimit", rf"{limit}/{limit} jobs", scene.submit(concurrency=key))
    rate = {"key": "api", "limit": "1/1h"}
    scene.running(rate=rate)
    scene.expect("RateLimit", r"1 starts per 3600 s", scene.submit(rate=rate))
    for parallel in (1, 2):
        array = scene.submit(array={"range": "0-4", "max_parallel": parallel})
        scene.expect("ArrayLimit", rf"{parallel}/{parallel} jobs", f"{array}[4]")
        scene.expect("ArrayLimit", rf"^{5 - parallel} members wait: ", array)


def in_queues(scene: Scene) -> None:
    scene.client.call("POST", "/v1/queues", {"name": "shut", "paused": True})
    scene.expect("QueuePaused", "queue shut is paused", scene.submit(queue="shut"))
    for most in (1, 2):
        scene.client.call("POST", "/v1/queues", {"name": f"most{most}", "max_running": most})
        scene.client.call("POST", "/v1/queues", {"name": f"each{most}", "max_running_per_user": most})
        for reason, queue in (("QueueLimit", f"most{most}"), ("UserQuota", f"each{most}")):
            for _ in range(most):
                scene.running(queue=queue)
            scene.expect(reason, rf"queue {queue}: {most}/{most} jobs", scene.submit(queue=queue))
    scene.client.call("POST", "/v1/queues", {"name": "slim", "max_cpus": 0.5})
    scene.running(queue="slim", resources={"cpus": 0.25})
    scene.expect("QueueLimit", "0.25/0.5 cpus in use, 0.4 wanted", scene.submit(queue="slim", resources={"cpus": 0.4}))


def when_full(scene: Scene) -> None:
    for _ in range(3):
        scene.running(resources={"cpus": 3, "memory": "1GiB"})
    for cpus in (2, 3, 4):
        scene.expect(
            "Resources",
            "3 workers that could run it are busy: 3 lack free cpus",
            scene.submit(resources={"cpus": cpus}, priority=90),
        )
    scene.expect(
        "Resources", "3 lack free memory", scene.submit(resources={"cpus": 0.01, "memory": "7.5GiB"}, priority=90)
    )
    scene.expect("Priority", "4 jobs of higher priority", scene.submit(resources={"cpus": 2}, priority=10))


def closed(scene: Scene) -> None:
    ids = [worker["id"] for worker in scene.client.items("/v1/workers")]
    scene.client.call("POST", f"/v1/workers/{ids[0]}/cordon")
    scene.expect("WorkersCordoned", "1 of 3 workers that could run it is cordoned", scene.submit(resources={"cpus": 4}))
    scene.check()
    for worker_id in ids[1:]:
        scene.client.call("POST", f"/v1/workers/{worker_id}/cordon")
    for cpus in (1, 4):
        said = r"3 workers could run it but take no work \(3 cordoned\)"
        scene.expect("WorkersCordoned", said, scene.submit(resources={"cpus": cpus}))


def test_forty_situations_are_told_right(scene):
    right = 0
    for build in (never_anywhere, not_yet, after_others, at_limits, in_queues):
        build(scene)
        right += scene.check()
    scene.clear()
    when_full(scene)
    right += scene.check()
    closed(scene)
    right += 1 + scene.check()
    for worker in scene.client.items("/v1/workers"):
        scene.client.call("POST", f"/v1/workers/{worker['id']}/uncordon")
    scene.clear()
    assert right >= 40


def planned(chance: random.Random, parent: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"image": "sim", "priority": chance.choice([10, 50, 90])}
    spec["resources"] = {
        "cpus": chance.choice([0.1, 0.5, 1, 2, 3, 4, 5]),
        "memory": f"{chance.choice([1, 4, 7, 9])}GiB",
    }
    match chance.randrange(10):
        case 0:  # whether these could ever run is not to be seen before their time: they are no larger than a worker
            spec |= {"delay": "1h", "resources": {"cpus": 4}}
        case 1:
            spec |= {"after": [{"job": parent}], "resources": {"cpus": 4}}
        case 2:
            spec["concurrency"] = {"key": "planned", "limit": 1}
        case 3:
            spec["constraints"] = [f"worker.name == sim-{chance.randrange(4)}"]
    return spec


def test_what_a_plan_says_comes_true(scene):
    scene.running(resources={"cpus": 3, "memory": "2GiB"})
    scene.running(resources={"cpus": 2, "memory": "6GiB"})
    parent = scene.running(resources={"cpus": 1, "memory": "1GiB"}, concurrency={"key": "planned", "limit": 1})
    chance, client, wrong, verdicts = random.Random(11), scene.client, [], set()
    for _ in range(100):
        spec = planned(chance, parent)
        answer = client.plan(spec)
        job_id = client.submit(spec)["id"]
        job = decided(client, job_id)
        came = "now" if job["state"] in STARTED else "never" if job["reason"] == "Unsatisfiable" else "later"
        verdicts.add(came)
        if answer["verdict"] != came:
            wrong.append((spec, answer, job["state"], job["reason"], job["message"]))
        if came != "now":
            client.act(job_id, "cancel")
        client.wait(job_id, timeout_s=60)
    assert verdicts == {"now", "later", "never"}
    assert len(wrong) <= 5, wrong
    scene.clear()


def decided(client: Any, job_id: str) -> dict[str, Any]:
    """Return the job once it has started or a blocker is known."""
    wait_until(
        lambda: client.job(job_id)["reason"] not in ("", "Evaluating") or client.job(job_id)["state"] in STARTED, 20
    )
    return client.job(job_id)
