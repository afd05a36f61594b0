"""Limits that cannot leak: kept at every instant while processes are killed, and no slot is held by nobody at the end.

Two witnesses: a sampler that asks who holds the slots every 50 ms, and the record of all changes of state, in which every
instant between them can be looked at afterwards.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Self

import pytest

from swarmsync.client import Client
from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CONFIG = '[worker]\nruntime = "simulated"\nname = "sim"\nsimulated_count = 10\n'
PLACED = ("starting", "running", "stopping")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    made = CoreProcess(tmp_path_factory.mktemp("limits"), CONFIG)
    made.start()
    made.ready(10)
    yield made
    made.let_go()


@pytest.fixture
def admin(core: CoreProcess) -> Client:
    return core.ready(10)


@pytest.fixture
def person(core: CoreProcess, admin: Client) -> Iterator[Callable[[str], Client]]:
    """Clients of users, who are made when they are asked for."""
    clients = []

    def client_of(name: str) -> Client:
        admin.call("POST", "/v1/users", {"username": name})
        token = admin.call("POST", "/v1/tokens", {"name": "tests", "user": name, "scopes": ["*"], "days": 1})["token"]
        clients.append(Client(f"http://127.0.0.1:{core.port}", token, patience_s=30))
        return clients[-1]

    yield client_of
    for client in clients:
        client.close()


def spec(duration: str = "100ms", **fields: Any) -> dict[str, Any]:
    resources = {"cpus": 0.1, "memory": "8MiB"}
    return {"image": "simulated", "environment": {"SIM_DURATION": duration}, "resources": resources, **fields}


def moments(client: Client, jobs: set[str]) -> list[tuple[datetime, str, bool]]:
    """(when, job, placed) of every change of these jobs, in the order of their commits."""
    lines = client.lines("/v1/events", {"after": "0-0", "follow": "0"})
    told = [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
    found = [(datetime.fromisoformat(e["at"]), e["job"], e["state"] in PLACED) for e in told if e["job"] in jobs]
    assert {job for _, job, _ in found} == jobs
    return sorted(found)


def most_at_once(client: Client, jobs: set[str]) -> int:
    holding: set[str] = set()
    most = 0
    for _, job, placed in moments(client, jobs):
        (holding.add if placed else holding.discard)(job)
        most = max(most, len(holding))
    assert holding == set(), "all have ended"
    return most


def starts(client: Client, jobs: set[str]) -> list[datetime]:
    """When each attempt was given to a worker."""
    placed: defaultdict[str, bool] = defaultdict(bool)
    found = []
    for at, job, is_placed in moments(client, jobs):
        if is_placed and not placed[job]:
            found.append(at)
        placed[job] = is_placed
    return found


class Sampler:
    """Asks every 50 ms who holds the slots of a limit, until the block ends."""

    def __init__(self, core: CoreProcess, kind: str, name: str) -> None:
        self._client, self._own = core.client(), core.client()
        self._query = {"kind": kind, "name": name}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: list[tuple[int, int]] = []

    def look(self) -> dict[str, Any]:
        return self._client.get("/v1/limits/holders", self._query)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            page = self._own.get("/v1/limits/holders", self._query)
            self.seen.append((page["held"], len(page["items"])))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    @property
    def most(self) -> int:
        return max(max(pair) for pair in self.seen)


def killed(core: CoreProcess, name: str) -> None:
    """Kill -9 a process of the Core and return when another is there."""
    pid = core.kill(name)

    def back() -> bool:
        try:
            return core.pid(name) != pid
        except LookupError:
            return False

    wait_until(back, 60)


def ended(client: Client, jobs: set[str]) -> set[str]:
    return {client.wait(job, timeout_s=120)["state"] for job in sorted(jobs)}


def test_a_key_of_two_over_fifty_jobs_of_several_users_while_workers_die(core, admin, person):
    people = [person(name) for name in ("ann", "bob", "eve")]
    key = {"key": "customer-17", "limit": 2}
    with Sampler(core, "key", "customer-17") as sampler:
        jobs = {people[n % 3].submit(spec("200ms", concurrency=key))["id"] for n in range(50)}
        for share in (40, 25, 10):
            wait_until(lambda share=share: sampler.look()["waiting"] <= share, 60)
            killed(core, "worker")
        assert ended(admin, jobs) == {"succeeded"}
    assert len(sampler.seen) > 20
    assert sampler.most == 2
    assert most_at_once(admin, jobs) == 2
    assert len(starts(admin, jobs)) > 50, "the deaths of workers cost attempts"
    left = sampler.look()
    assert (left["held"], left["waiting"], left["items"]) == (0, 0, [])


def test_holders_are_listed_with_their_age_and_a_cancelled_one_gives_its_slot_back(core, admin):
    key = {"key": "slow", "limit": 1}
    first, second = (admin.submit(spec("1h", concurrency=key))["id"] for _ in range(2))
    wait_until(lambda: admin.job(first)["state"] == "running", 60)
    shown = core.consumer("limit", "show", "slow", "-o", "json")
    (holder,) = json.loads(shown.stdout)["items"]
    assert (holder["job"], holder["fence"], holder["worker"][:3]) == (first, 1, "sim")
    wait_until(lambda: admin.get("/v1/limits/key/slow/holders")["items"][0]["age_s"] > holder["age_s"], 60)
    assert admin.job(second)["state"] == "queued"
    assert core.consumer("limit", "show", "slow").stderr == "key slow: 1 of 1 slots held, 1 waiting\n"
    admin.cancel(first)
    wait_until(lambda: admin.job(second)["state"] == "running", 60)
    admin.act(second, "kill")
    assert ended(admin, {first, second}) == {"cancelled"}
    wait_until(lambda: admin.get("/v1/limits/key/slow/holders")["held"] == 0, 60)


def test_on_limit_reject_and_cancel_oldest(admin):
    def submit(on_limit: str) -> str:
        key = {"key": f"one-{on_limit}", "limit": 1, "on_limit": on_limit}
        return admin.submit(spec("1h", concurrency=key))["id"]

    kept = submit("reject")
    wait_until(lambda: admin.job(kept)["state"] == "running", 60)
    with pytest.raises(Exception, match="'one-reject' has 1 of 1 jobs"):
        submit("reject")
    oldest = submit("cancel_oldest")
    wait_until(lambda: admin.job(oldest)["state"] == "running", 60)
    newest = submit("cancel_oldest")
    assert admin.wait(oldest, timeout_s=60)["reason"] == "CancelledByPolicy"
    wait_until(lambda: admin.job(newest)["state"] == "running", 60)
    for job in (kept, newest):
        admin.act(job, "kill")
    assert ended(admin, {kept, newest}) == {"cancelled"}


def test_an_array_never_runs_more_members_than_it_may(admin):
    array = admin.submit(spec("60ms", array={"range": "0-19", "max_parallel": 3}))["id"]
    assert ended(admin, {array}) == {"succeeded"}
    members = {job["id"] for job in admin.jobs({"array": array})}
    assert len(members) == 20
    assert most_at_once(admin, members) == 3


def test_a_rate_is_kept_in_every_second(admin):
    jobs = {admin.submit(spec("1ms", rate={"key": "api", "limit": "3/1s"}))["id"] for _ in range(9)}
    assert ended(admin, jobs) == {"succeeded"}
    times = starts(admin, jobs)
    spans = [(later - earlier).total_seconds() for earlier, later in zip(times, times[3:], strict=False)]
    assert len(times) == 9
    assert min(spans) >= 1


def test_a_paused_queue_starts_nothing_until_it_is_resumed(core, admin):
    assert core.consumer("queue", "create", "night", "--max-running", "2").stdout == "night\n"
    jobs = set(admin.submit_many([spec("150ms", queue="night")] * 12))
    wait_until(lambda: admin.get("/v1/queues/night")["running"] > 0, 60)
    assert core.consumer("queue", "pause", "night").stdout == "night  paused\n"
    before = sum(admin.job(job)["attempt"] for job in jobs)
    wait_until(lambda: admin.get("/v1/queues/night")["running"] == 0, 60)
    late = admin.submit(spec("1ms", queue="night"))["id"]
    others = set(admin.submit_many([spec("50ms")] * 10))
    assert ended(admin, others) == {"succeeded"}, "other queues go on"
    assert sum(admin.job(job)["attempt"] for job in jobs) == before < 12
    assert admin.job(late)["state"] == "queued"
    wait_until(lambda: admin.job(late)["reason"] == "QueuePaused", 60)
    refused = core.consumer("queue", "delete", "night")
    assert (refused.returncode, "waiting" in refused.stderr) == (5, True)
    assert core.consumer("queue", "resume", "night").stdout == "night  open\n"
    assert ended(admin, jobs | {late}) == {"succeeded"}
    assert most_at_once(admin, jobs | {late}) == 2
    assert core.consumer("queue", "delete", "night").returncode == 0


def test_limits_of_a_queue_and_of_a_user_hold_while_modules_die(core, admin, person):
    zoe, max_ = person("zoe"), person("max")
    assert (
        core.consumer("queue", "create", "shared", "--max-running", "5", "--max-running-per-user", "4").returncode == 0
    )
    assert core.consumer("limit", "set-user", "zoe", "--max-running", "3").returncode == 0
    of_zoe = set(zoe.submit_many([spec("80ms", queue="shared")] * 25 + [spec("80ms")] * 15))
    of_max = set(max_.submit_many([spec("80ms", queue="shared")] * 25))
    with Sampler(core, "queue", "shared") as sampler:
        for name in ("scheduler", "dispatcher", "scheduler", "harvester", "scheduler"):
            held = len(starts(admin, of_zoe | of_max))
            killed(core, name)
            wait_until(lambda held=held: len(starts(admin, of_zoe | of_max)) > held, 60)
        assert ended(admin, of_zoe | of_max) == {"succeeded"}
    assert sampler.most <= 5
    assert most_at_once(admin, of_zoe) == 3
    assert most_at_once(admin, of_max) <= 4
    in_queue = {job for job in of_zoe | of_max if admin.job(job)["queue"] == "shared"}
    assert most_at_once(admin, in_queue) == 5
    assert sampler.look()["held"] == 0
