"""What limits do when a job is submitted or moved: keys that reject or make room, queues that are full, lines that follow."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from swarmsync.errors import Conflict, TooMany
from swarmsync.model.fields import Duration
from swarmsync.model.rules import line_of, read_rules
from swarmsync.store import actions, jobs
from swarmsync.store.actions import Changes

pytestmark = pytest.mark.integration


def key(name: str, limit: int, on_limit: str) -> dict[str, Any]:
    return {"concurrency": {"key": f"desk-{name}", "limit": limit, "on_limit": on_limit}}


@pytest.fixture
async def full_queue(desk):
    """A queue that takes three waiting jobs."""
    await desk.owner.execute("INSERT INTO queues (name, max_waiting) VALUES ('desk-full', 3)")
    yield "desk-full"
    await desk.owner.execute("DELETE FROM queues WHERE name = 'desk-full'")


@pytest.fixture
async def amend(desk):
    """Change a job of the desk's user as the API does; the user has a row meanwhile."""
    await desk.owner.execute("INSERT INTO users (id, username) VALUES ($1, 'desk-me')", desk.me.user_id)

    async def change(job_id: int, new_spec_id: int = 0, **changes: Any) -> None:
        await actions.amend(desk.api, desk.me, job_id, Changes(**changes), lambda: new_spec_id)

    yield change
    await desk.owner.execute("DELETE FROM users WHERE id = $1", desk.me.user_id)


async def test_reject_takes_as_many_as_could_start_and_no_more(desk, verdict):
    spec = key("reject", 2, "reject")
    first, _ = await desk.submit(2, **spec)
    with pytest.raises(Conflict, match=r"'desk-reject' has 2 of 2 jobs that are not over; submit it later"):
        await desk.submit(caller=desk.user(), **spec)
    (ref,) = await desk.dispatch(first)
    with pytest.raises(Conflict):
        await desk.submit(**spec)
    await jobs.settle(desk.engine, [verdict(ref)])
    assert len(await desk.submit(caller=desk.user(), **spec)) == 1


async def test_reject_counts_the_members_of_an_array_and_not_the_array(desk):
    spec = key("array", 3, "reject")
    await desk.submit(array={"range": "0-2"}, **spec)
    with pytest.raises(Conflict, match="has 3 of 3"):
        await desk.submit(**spec)
    with pytest.raises(Conflict, match="has 0 of 3 jobs that are not over; 4 more never fit: submit fewer"):
        await desk.submit(array={"range": "0-3"}, **key("other", 3, "reject"))


async def test_of_many_at_once_only_so_many_are_taken(desk):
    spec = key("race", 3, "reject")
    users = [desk.user() for _ in range(4)]
    took = await asyncio.gather(*(desk.submit(caller=users[n % 4], **spec) for n in range(12)), return_exceptions=True)
    assert Counter(type(answer) for answer in took) == {list: 3, Conflict: 9}
    count = "SELECT count(*) FROM jobs WHERE concurrency_key = 'desk-race'"
    assert await desk.owner.fetchval(count) == 3, "the refused ones left nothing"


async def test_cancel_oldest_makes_room_and_leaves_other_users_alone(desk):
    spec = key("newest", 2, "cancel_oldest")
    (theirs,) = await desk.submit(caller=desk.user(), **spec)
    (first,) = await desk.submit(**spec)
    (second,) = await desk.submit(**spec)
    states = [await desk.state(job_id) for job_id in (theirs, first, second)]
    assert states == ["queued", "cancelled", "queued"]
    row = await desk.row(first)
    assert (row["reason"], row["message"].startswith("made room")) == ("CancelledByPolicy", True)


async def test_cancel_oldest_stops_what_runs_and_counts_what_is_stopped_already(desk):
    spec = key("going", 2, "cancel_oldest")
    running = [await desk.running(**spec) for _ in range(2)]
    (third,) = await desk.submit(**spec)
    (fourth,) = await desk.submit(**spec)
    (fifth,) = await desk.submit(**spec)
    found = [*(ref.job_id for ref in running), third, fourth, fifth]
    assert [await desk.state(job_id) for job_id in found] == ["stopping", "stopping", "cancelled", "queued", "queued"]


# ------------------------------------------------ queues


async def test_a_full_queue_refuses_and_says_the_numbers(desk, full_queue):
    waiting = await desk.submit(3, queue=full_queue)
    with pytest.raises(TooMany, match=r"'desk-full' would have 5 waiting jobs, and takes 3"):
        await desk.submit(2, caller=desk.user(), queue=full_queue)
    await desk.dispatch(waiting[0])
    assert len(await desk.submit(caller=desk.user(), queue=full_queue)) == 1
    with pytest.raises(TooMany):
        await desk.submit(queue=full_queue, array={"range": "0-0"})


async def test_a_full_queue_stays_so_whoever_comes_at_once(desk, full_queue):
    took = await asyncio.gather(*(desk.submit(queue=full_queue) for _ in range(10)), return_exceptions=True)
    assert Counter(type(answer) for answer in took) == {list: 3, TooMany: 7}


async def test_a_job_does_not_move_into_a_full_queue(desk, amend, full_queue):
    await desk.submit(3, queue=full_queue)
    (job_id,) = await desk.submit()
    with pytest.raises(TooMany):
        await amend(job_id, queue=full_queue)
    assert (await desk.row(job_id))["queue"] == "default"


# ------------------------------------------------ the line follows


async def expected_line(desk, job_id: int) -> int:
    row = await desk.row(job_id)
    array_id = (row["array_id"] or job_id) if row["array_size"] is not None else None
    return line_of(row["shape"], row["user_id"], row["queue"], row["rules"], array_id)


@pytest.mark.parametrize("spec", [{}, {"concurrency": {"key": "desk-line", "limit": 2}}])
async def test_a_job_that_changes_its_queue_changes_its_line(desk, amend, spec):
    (job_id,) = await desk.submit(**spec)
    before = (await desk.row(job_id))["line"]
    await amend(job_id, queue="desk-elsewhere")
    row = await desk.row(job_id)
    assert row["line"] == await expected_line(desk, job_id) != before
    (twin,) = await desk.submit(queue="desk-elsewhere", **spec)
    assert (await desk.row(twin))["line"] == row["line"], "it stands with those that were submitted there"


async def test_an_array_and_its_members_change_together(desk, amend):
    array_id, *members = await desk.submit(array={"range": "0-2", "max_parallel": 1})
    (ref,) = await desk.dispatch(members[0])
    before = (await desk.row(array_id))["line"]
    await amend(array_id, queue="desk-elsewhere")
    lines = {(await desk.row(job_id))["line"] for job_id in (array_id, *members[1:])}
    assert lines == {await expected_line(desk, array_id)}
    assert (await desk.row(ref.job_id))["line"] == before, "what is placed stays as it is"


async def test_a_new_time_out_is_in_the_rules_and_in_the_line(desk, amend):
    (job_id,) = await desk.submit(constraints=["worker.label.zone == eu"])
    new_id = await desk.owner.fetchval("SELECT max(id) + 1 FROM specs")
    await amend(job_id, new_id, timeout=Duration(90_000))
    row = await desk.row(job_id)
    rules = read_rules(row["rules"])
    assert rules is not None
    assert (rules.timeout_ms, rules.constraints) == (90_000, ("worker.label.zone == eu",))
    assert row["line"] == await expected_line(desk, job_id)
