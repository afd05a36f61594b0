"""An array's own verdict, from those of its members."""

from itertools import combinations_with_replacement

import pytest

from swarmsync.store import jobs
from swarmsync.store.queries import sql

pytestmark = pytest.mark.integration

ENDS = ("succeeded", "failed", "timed_out", "cancelled", "expired")
MIXES = [mix for size in (1, 2, 3) for mix in combinations_with_replacement(ENDS, size)]
WORDS = {"failed": "failed", "timed_out": "timed out", "cancelled": "cancelled", "expired": "expired"}


def expected(mix):
    """The rule in plain words: a failure fails it, then a time-out; it succeeds only as a whole."""
    for state in ("failed", "timed_out"):
        if state in mix:
            return state
    return "succeeded" if set(mix) == {"succeeded"} else "cancelled"


async def end_members(desk, members, mix):
    """Bring members to these ends without playing each one's life."""
    await desk.owner.execute(
        "UPDATE jobs j SET state = i.state, finished_at = now(), exit_code = i.code"
        " FROM unnest($1::bigint[], $2::text[], $3::int[]) AS i (id, state, code) WHERE j.id = i.id",
        members,
        list(mix),
        [{"succeeded": 0, "failed": 3}.get(state) for state in mix],
    )


async def test_every_mix_of_ends_has_its_verdict_and_says_how_many(desk):
    arrays = {}
    for mix in MIXES:
        array_id, *members = await desk.submit(array={"range": f"1-{len(mix)}"})
        await end_members(desk, members, mix)
        arrays[array_id] = mix
    assert sorted(await jobs.finish_arrays(desk.engine, list(arrays))) == sorted(arrays)
    for array_id, mix in arrays.items():
        row = await desk.row(array_id)
        assert row["state"] == expected(mix), mix
        counts = [f"{mix.count(state)} {word}" for state, word in WORDS.items() if state in mix]
        assert row["message"] == ", ".join([f"{mix.count('succeeded')} of {len(mix)} succeeded", *counts])
        assert row["exit_code"] == (3 if "failed" in mix else 0 if "succeeded" in mix else None)
        assert (await desk.events(array_id))[-1] == (row["state"], 0)
    assert await jobs.finish_arrays(desk.engine, list(arrays)) == []


@pytest.mark.parametrize(
    ("mix", "reason"),
    [
        (("succeeded", "succeeded"), "Completed"),
        (("succeeded", "failed"), "ExitCode"),
        (("succeeded", "timed_out"), "Timeout"),
        (("succeeded", "cancelled"), "CancelledByUser"),
        (("succeeded", "expired"), "QueueTimeout"),
        (("cancelled", "expired"), "CancelledByUser"),
    ],
)
async def test_the_reason_names_what_kept_it_from_succeeding(desk, mix, reason):
    array_id, *members = await desk.submit(array={"range": "1-2"})
    await end_members(desk, members, mix)
    await jobs.finish_arrays(desk.engine, [array_id])
    assert (await desk.row(array_id))["reason"] == reason


@pytest.mark.parametrize("state", ["queued", "scheduled", "held"])
async def test_an_array_with_an_open_member_goes_on(desk, state):
    array_id, first, second = await desk.submit(array={"range": "1-2"})
    await end_members(desk, [first], ["failed"])
    await desk.owner.execute("UPDATE jobs SET state = $2, run_at = now() WHERE id = $1", second, state)
    assert await jobs.finish_arrays(desk.engine, [array_id]) == []
    assert await desk.state(array_id) == "queued"


async def test_a_running_array_whose_user_cancelled_it_says_so(desk):
    array_id, first, second = await desk.submit(array={"range": "1-2"})
    await desk.owner.execute(
        "UPDATE jobs SET state = 'stopping', stop_reason = 'CancelledByPolicy' WHERE id = $1", array_id
    )
    await end_members(desk, [first, second], ["succeeded", "cancelled"])
    assert await jobs.finish_arrays(desk.engine, [array_id]) == [array_id]
    row = await desk.row(array_id)
    assert (row["state"], row["reason"]) == ("cancelled", "CancelledByPolicy")


async def test_the_sweep_finds_arrays_that_are_over_and_no_others(desk):
    over, *members = await desk.submit(array={"range": "1-2"})
    await end_members(desk, members, ["succeeded", "failed"])
    still, first, _ = await desk.submit(array={"range": "1-2"})
    await end_members(desk, [first], ["succeeded"])
    found = {row["id"] for row in await desk.engine.fetch(sql("open_arrays"))}
    assert over in found
    assert still not in found
    await jobs.finish_arrays(desk.engine, [over])
    assert over not in {row["id"] for row in await desk.engine.fetch(sql("open_arrays"))}


async def test_settling_the_last_member_names_its_array(desk, verdict):
    array_id, member = await desk.submit(array={"range": "0-0"})
    (ref,) = await desk.dispatch(member)
    (entry,) = await jobs.settle(desk.engine, [verdict(ref)])
    assert entry.array_id == array_id
    assert await jobs.finish_arrays(desk.engine, [array_id]) == [array_id]
