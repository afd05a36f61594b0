"""The wait ledger of many simulated jobs adds up to their wall time, and what was made slow shows as that."""

import contextlib
import random
from collections import Counter
from datetime import datetime

import pytest

from swarmsync.errors import Conflict
from tests.e2e.conftest import wait_until

pytestmark = pytest.mark.e2e

SECONDS_OFF_MAX = 0.05


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    from tests.e2e.conftest import CoreProcess

    made = CoreProcess(
        tmp_path_factory.mktemp("ledger"),
        '[worker]\nruntime = "simulated"\nname = "sim"\nsimulated_count = 3\ncpus = 4\nmemory = "8GiB"\n',
    )
    try:
        made.start()
        made.ready(3)
        yield made
    finally:
        made.let_go()


def job_of(chance: random.Random) -> dict:
    environment = {"SIM_DURATION": f"{chance.choice([0, 0, 1, 20, 150, 400])}ms"}
    spec = {"image": "sim", "environment": environment, "priority": chance.randrange(100)}
    spec["resources"] = {"cpus": chance.choice([0.25, 0.5, 1, 2])}
    match chance.randrange(8):
        case 0:
            environment["SIM_EXIT"] = "3"
            spec["retry"] = {"attempts": 3, "delay": "200ms", "jitter": 0.2}
        case 1:
            spec["delay"] = f"{chance.randrange(100, 900)}ms"
        case 2:
            spec["image"] = f"slow-pull:{chance.randrange(10, 300)}ms"
        case 3:
            spec["timeout"] = "100ms"
        case 4:
            environment["SIM_OOM"] = "1"
        case 5:
            spec["queue_timeout"] = "300ms"
    return spec


def wall(job: dict) -> float:
    submitted, finished = (datetime.fromisoformat(job[name]) for name in ("submitted_at", "finished_at"))
    return (finished - submitted).total_seconds()


def spent(job: dict) -> Counter:
    found = Counter()
    for part in job["ledger"]:
        found[part["phase"]] += part["seconds"]
    return found


def off(job: dict) -> float:
    return abs(sum(part["seconds"] for part in job["ledger"]) - wall(job))


def test_the_parts_of_many_random_jobs_add_up(core):
    chance = random.Random(7)
    client = core.client()
    ids = client.submit_many([job_of(chance) for _ in range(240)])
    ids += client.submit_many(
        [{**job_of(chance), "after": [{"job": "#0", "when": "finished"}]} if n else job_of(chance) for n in range(20)]
    )
    array = client.submit({"image": "sim", "environment": {"SIM_DURATION": "50ms"}, "array": {"range": "0-9"}})
    for job_id in ids[:240:12]:
        with contextlib.suppress(Conflict):  # it may have ended by now
            client.act(job_id, "cancel")
    jobs = [client.wait(job_id, timeout_s=60) for job_id in [*ids, array["id"]]]
    jobs = [client.job(job["id"]) for job in jobs] + [client.job(f"{array['id']}[{n}]") for n in range(10)]
    wrong = [(job["id"], off(job)) for job in jobs if off(job) > SECONDS_OFF_MAX]
    assert wrong == []
    assert {"succeeded", "failed", "timed_out"} <= {job["state"] for job in jobs}
    phases = {part["phase"] for job in jobs for part in job["ledger"]}
    assert {
        "evaluating",
        "resources",
        "dependency",
        "scheduled",
        "backoff",
        "placing",
        "pull",
        "run",
        "harvest",
    } <= phases


def test_a_hold_and_a_slow_pull_show_as_what_they_are(core):
    client = core.client()
    held = client.submit({"image": "sim", "delay": "1h"})
    client.act(held["id"], "hold")
    slow = client.submit({"image": "slow-pull:1s", "environment": {"SIM_DURATION": "500ms"}})
    slow = client.job(client.wait(slow["id"], timeout_s=60)["id"])
    wait_until(lambda: spent(client.job(held["id"]))["held"] >= 2, 60)
    client.act(held["id"], "cancel")
    held = client.job(held["id"])
    assert 2 <= spent(held)["held"] <= wall(held)
    assert 0.99 <= spent(slow)["pull"] <= wall(slow) - 0.49
    assert 0.49 <= spent(slow)["run"] <= wall(slow) - 0.99
    assert max(off(held), off(slow)) < SECONDS_OFF_MAX
    shown = core.consumer("job", "show", slow["id"]).stdout
    assert "Where the time went:" in shown
    assert "pull" in shown


def test_a_full_cluster_shows_as_resources(core):
    client = core.client()
    block = client.submit_many(
        [{"image": "sim", "resources": {"cpus": 4}, "environment": {"SIM_DURATION": "600s"}}] * 3
    )
    wait_until(lambda: all(client.job(job_id)["state"] == "running" for job_id in block), 60)
    job = client.submit({"image": "sim", "resources": {"cpus": 4}})
    try:
        wait_until(lambda: spent(client.job(job["id"]))["resources"] > 0.5, 60)
    finally:
        for job_id in block:
            client.act(job_id, "kill")
    job = client.job(client.wait(job["id"], timeout_s=60)["id"])
    (waited,) = [part for part in job["ledger"] if part["phase"] == "resources"]
    assert waited["reason"] == "Resources"
    assert waited["seconds"] > 0.5
    running = client.submit({"image": "slow-pull:300ms", "environment": {"SIM_DURATION": "20s"}})
    wait_until(lambda: client.job(running["id"])["state"] == "running", 60)
    assert spent(client.job(running["id"]))["pull"] >= 0.29
    client.act(running["id"], "kill")
