"""Jobs that wait for jobs: released, cancelled in chains, held meanwhile, and found when nobody told."""

import pytest

from swarmsync import ids
from swarmsync.errors import SpecError
from swarmsync.model.lifecycle import EndReason
from swarmsync.store import actions, dependencies, jobs

pytestmark = pytest.mark.integration


def after(*parents, when="succeeded"):
    return {"after": [{"job": ids.encode(parent), "when": when} for parent in parents]}


async def end(desk, verdict, job_id, state="succeeded"):
    """Run a job to its end and let the engine look at what waits for it."""
    (ref,) = await desk.dispatch(job_id)
    assert await jobs.settle(desk.engine, [verdict(ref, state)])
    return await dependencies.release(desk.engine, [job_id])


async def test_a_job_waits_for_all_its_parents(desk, verdict):
    one, other = await desk.submit(count=2)
    (child,) = await desk.submit(**after(one, other))
    assert (await desk.state(child), (await desk.row(child))["reason"]) == ("blocked", "Dependency")
    assert (await end(desk, verdict, one)).changed == []
    assert (await end(desk, verdict, other)).changed == [child]
    assert await desk.state(child) == "queued"


@pytest.mark.parametrize(
    ("when", "ended", "becomes"),
    [
        ("succeeded", "succeeded", "queued"), ("succeeded", "failed", "cancelled"), ("succeeded", "timed_out", "cancelled"),
        ("failed", "failed", "queued"), ("failed", "timed_out", "queued"), ("failed", "succeeded", "cancelled"),
        ("finished", "succeeded", "queued"), ("finished", "failed", "queued"),
    ],
)  # fmt: skip
async def test_each_condition_on_each_end(desk, verdict, when, ended, becomes):
    (parent,) = await desk.submit()
    (child,) = await desk.submit(**after(parent, when=when))
    await end(desk, verdict, parent, ended)
    row = await desk.row(child)
    assert row["state"] == becomes
    if becomes == "cancelled":
        assert row["reason"] == EndReason.DEPENDENCY_FAILED
        assert row["message"] == f"waited for job {ids.encode(parent)} to have {when}, but it is {ended}"


async def test_a_failure_ends_the_whole_chain_behind_it(desk, verdict):
    (first,) = await desk.submit()
    (second,) = await desk.submit(**after(first))
    (third,) = await desk.submit(**after(second))
    (cleanup,) = await desk.submit(**after(third, when="finished"))
    released = await end(desk, verdict, first, "failed")
    assert released.changed == [second, third, cleanup]
    assert released.ended == [second, third]
    assert [await desk.state(job) for job in (second, third, cleanup)] == ["cancelled", "cancelled", "queued"]


async def test_jobs_of_one_request_name_each_other_by_place(desk, verdict):
    drafts = [{}, {"after": [{"job": "#0"}]}, {"after": [{"job": "#0"}]}, {"after": [{"job": "#1"}, {"job": "#2"}]}]
    top, left, right, bottom = await desk.submit_all(drafts)
    assert (await end(desk, verdict, top)).changed == [left, right]
    await end(desk, verdict, left)
    assert await desk.state(bottom) == "blocked"
    await end(desk, verdict, right)
    assert await desk.state(bottom) == "queued"


@pytest.mark.parametrize("job", ["#1", "#7", "nonsense", ids.encode(12345)])
async def test_a_parent_that_is_not_there_is_refused_with_its_place(desk, job):
    with pytest.raises(SpecError) as refused:
        await desk.submit_all([{}, {"after": [{"job": job}]}])
    assert [error.path for error in refused.value.errors] == ["$.jobs[1].after[0].job"]


async def test_a_member_of_an_array_is_a_parent_by_its_index(desk, verdict):
    array, first, second = await desk.submit(array={"range": "4,7"})
    (child,) = await desk.submit(after=[{"job": f"{ids.encode(array)}[7]"}])
    assert (await end(desk, verdict, first)).changed == []
    assert (await end(desk, verdict, second)).changed == [child]
    for absent in (f"{ids.encode(array)}[5]", f"{ids.encode(first)}[7]", "nonsense[7]", f"{ids.encode(array)}[]"):
        with pytest.raises(SpecError, match="there is no job"):
            await desk.submit(after=[{"job": absent}])


async def test_somebody_elses_job_is_not_there(desk):
    (parent,) = await desk.submit(caller=desk.user())
    with pytest.raises(SpecError, match="there is no job"):
        await desk.submit(**after(parent))


async def test_a_parent_that_had_ended_before_is_found_by_the_child(desk, verdict):
    (parent,) = await desk.submit()
    await end(desk, verdict, parent)
    (child,) = await desk.submit(**after(parent))
    found = await dependencies.overlooked(desk.engine, [child])
    assert found == [parent]
    await dependencies.release(desk.engine, found)
    assert await desk.state(child) == "queued"


async def test_the_sweep_finds_what_nobody_told(desk, verdict):
    (parent,) = await desk.submit()
    (child,) = await desk.submit(**after(parent))
    (ref,) = await desk.dispatch(parent)
    await jobs.settle(desk.engine, [verdict(ref)])
    assert parent in await dependencies.overlooked(desk.engine)
    await dependencies.release(desk.engine, [parent])
    assert parent not in await dependencies.overlooked(desk.engine)
    assert await desk.state(child) == "queued"


async def test_a_deleted_parent_meets_nothing_but_finished(desk, verdict):
    (parent,) = await desk.submit()
    (strict,) = await desk.submit(**after(parent))
    (lax,) = await desk.submit(**after(parent, when="finished"))
    (ref,) = await desk.dispatch(parent)
    await jobs.settle(desk.engine, [verdict(ref)])
    await actions.remove(desk.api, desk.me, parent)
    await dependencies.release(desk.engine, await dependencies.overlooked(desk.engine))
    assert [await desk.state(strict), await desk.state(lax)] == ["cancelled", "queued"]


async def test_a_held_child_stays_held_and_goes_on_where_it_stands(desk, verdict):
    await desk.register()
    one, other = await desk.submit(count=2)
    early, late = await desk.submit(count=2, **after(one, other))
    for child in (early, late):
        await actions.hold(desk.api, desk.me, child)
    await end(desk, verdict, one)
    await actions.release(desk.api, desk.me, early)
    assert await desk.state(early) == "blocked"
    await end(desk, verdict, other)
    assert [await desk.state(early), await desk.state(late)] == ["queued", "held"]
    await actions.release(desk.api, desk.me, late)
    assert await desk.state(late) == "queued"


async def test_a_release_that_crosses_the_end_of_the_last_parent_is_not_lost(desk, verdict):
    await desk.register()
    (parent,) = await desk.submit()
    (child,) = await desk.submit(**after(parent))
    await actions.hold(desk.api, desk.me, child)
    await end(desk, verdict, parent)  # notes that the condition holds, and leaves the held child alone
    stale = "UPDATE jobs SET state = 'blocked', reason = 'Dependency' WHERE id = $1"  # of a release that saw no note
    await desk.engine.run(lambda c: c.execute(stale, child))
    await dependencies.release(desk.engine, await dependencies.overlooked(desk.engine, [child]))
    assert await desk.state(child) == "queued"


async def test_a_time_to_come_is_kept_behind_the_dependency(desk, verdict):
    (parent,) = await desk.submit()
    (child,) = await desk.submit(delay="1h", **after(parent))
    await end(desk, verdict, parent)
    assert (await desk.state(child), (await desk.row(child))["reason"]) == ("scheduled", "StartTime")


async def test_an_array_waits_and_is_waited_for_as_a_whole(desk, verdict):
    (parent,) = await desk.submit()
    array, *members = await desk.submit(array={"range": "0-2"}, **after(parent))
    assert {await desk.state(job) for job in (array, *members)} == {"blocked"}
    (child,) = await desk.submit(**after(array))
    await end(desk, verdict, parent)
    assert {await desk.state(job) for job in (array, *members)} == {"queued"}
    for ref in await desk.dispatch(*members):
        await jobs.settle(desk.engine, [verdict(ref)])
        assert await desk.state(child) == "blocked"
    assert await jobs.finish_arrays(desk.engine, [array]) == [array]
    await dependencies.release(desk.engine, [array])
    assert await desk.state(child) == "queued"


async def test_releasing_twice_changes_nothing(desk, verdict):
    (parent,) = await desk.submit()
    (child,) = await desk.submit(**after(parent))
    await end(desk, verdict, parent)
    before = await desk.events(child)
    assert (await dependencies.release(desk.engine, [parent])).changed == []
    assert await desk.events(child) == before
