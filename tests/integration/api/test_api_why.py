"""`why` and `plan`: the Scheduler's answer where there is one, the rows where there is none, and nothing is changed."""

import json
from collections.abc import AsyncIterator

import pytest

from swarmsync.bus import Bus
from swarmsync.model.explanation import Blocker, Explanation, write
from swarmsync.model.lifecycle import WaitReason
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import Ask

pytestmark = pytest.mark.integration

FULL = Explanation(
    (
        Blocker(WaitReason.USER_QUOTA, "2 of 2 jobs run", holders=("0abc",), help="job 0abc ends"),
        Blocker(WaitReason.PRIORITY, "3 jobs of higher priority wait, too"),
        Blocker(WaitReason.RESOURCES, "busy", help="job 0xyz ends on w1"),
    ),
    position=4,
    would_start_if=("job 0abc ends", "job 0xyz ends on w1"),
    verdict="waits",
    start_in_ms=60_000,
)


class Scheduler:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.answer: bytes = write(FULL)
        self.asked: list[Ask] = []

    async def on_ask(self, message) -> None:
        self.asked.append(codec.decoder_of(Ask)(message.data))
        await self.bus.publish(message.reply, self.answer)


@pytest.fixture
async def scheduler(servers) -> AsyncIterator[Scheduler]:
    bus = await Bus.connect(servers.nats_url, "tests")
    made = Scheduler(bus)
    await bus.subscribe(subjects.ASK, made.on_ask)
    await bus.flush()
    yield made
    await bus.close()


async def why(api, job_id):
    answer = await api.get(f"/v1/jobs/{job_id}/why")
    assert answer.status == 200, answer.text
    return answer.json


def reasons(answer):
    return [blocker["reason"] for blocker in answer["blockers"]]


async def test_a_queued_job_has_the_schedulers_blockers_its_position_and_what_would_help(ann, scheduler):
    job = await ann.submit(priority=70, resources={"cpus": 2})
    answer = await why(ann, job["id"])
    assert (answer["state"], reasons(answer), answer["position"]) == (
        "queued",
        ["UserQuota", "Priority", "Resources"],
        4,
    )
    priority = "the jobs of higher priority before it have started, or its priority is raised"
    assert answer["would_start_if"] == [priority, "job 0abc ends", "job 0xyz ends on w1"]
    assert answer["blockers"][0]["holders"] == ["0abc"]
    (asked,) = scheduler.asked
    assert (asked.kind, asked.job.priority, asked.job.need.cpus_milli) == ("why", 70, 2_000)
    assert asked.job.line != 0


async def test_without_the_scheduler_or_when_it_is_busy_the_rows_must_do(ann, scheduler):
    job = await ann.submit()
    for text in (b'{"busy":true}', b"no JSON", b'{"blockers": 7}'):
        scheduler.answer = text
        assert reasons(await why(ann, job["id"])) == ["Evaluating"]


async def test_a_job_without_blockers_is_told_where_it_fits(ann, scheduler):
    scheduler.answer = write(Explanation(verdict="now", worker="w7", position=0))
    answer = await why(ann, (await ann.submit())["id"])
    assert reasons(answer) == ["Evaluating"]
    assert "w7" in answer["blockers"][0]["message"]


async def test_a_held_job_waits_for_its_release_its_time_its_parents_and_all_the_rest(ann, scheduler):
    first, second = await ann.submit(), await ann.submit(delay="1h")
    after = [{"job": first["id"]}, {"job": second["id"], "when": "finished"}]
    job = await ann.submit(after=after, delay="2h")
    await ann.post(f"/v1/jobs/{job['id']}/hold")
    answer = await why(ann, job["id"])
    assert reasons(answer) == ["Held", "StartTime", "Dependency", "UserQuota", "Priority", "Resources"]
    parents = answer["blockers"][2]["parents"]
    assert parents == [
        {"job": first["id"], "condition": "succeeded", "state": "queued"},
        {"job": second["id"], "condition": "finished", "state": "scheduled"},
    ]
    assert f"job {first['id']} has succeeded" in answer["would_start_if"]
    assert scheduler.asked[-1].kind == "plan"


async def test_an_array_tells_of_its_members_in_counts(ann, engine):
    array = await ann.submit(array={"range": "0-4"})
    await ann.post(f"/v1/jobs/{array['id']}[1]/hold")
    answer = await why(ann, array["id"])
    assert [(b["reason"], b["members"]) for b in answer["blockers"]] == [("Held", 1), ("Evaluating", 4)]
    assert answer["blockers"][1]["message"].startswith("4 members wait")


async def test_a_job_that_is_over_has_its_obituary(ann, engine):
    job = await ann.submit()
    await ann.post(f"/v1/jobs/{job['id']}/cancel", {"reason": "a typo"})
    answer = await why(ann, job["id"])
    assert answer["blockers"] == []
    assert answer["ended"]["line"] == ("The job was cancelled: cancelled by ann: a typo; no worker ever had it.")
    shown = (await ann.get(f"/v1/jobs/{job['id']}")).json
    assert shown["obituary"] == answer["ended"]["line"]
    result = (await ann.get(f"/v1/jobs/{job['id']}/result")).json
    assert (result["obituary"], result["ledger"]) == (shown["obituary"], shown["ledger"])


async def test_why_of_somebody_elses_job_is_not_found(ann, bob):
    job = await ann.submit()
    assert (await bob.get(f"/v1/jobs/{job['id']}/why")).status == 404


# ------------------------------------------------ plan


async def plan(api, **spec):
    answer = await api.post("/v1/jobs/plan", {"image": "alpine:3.20", **spec})
    assert answer.status == 200, answer.text
    return answer.json


async def contents(engine):
    """Every row of every table that a submission touches."""
    tables = await engine.sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'swarmsync'")
    return {
        row["tablename"]: await engine.sql.fetch(f"SELECT t::text FROM {row['tablename']} t ORDER BY 1")
        for row in tables
        if await engine.sql.fetchval("SELECT has_table_privilege($1, 'SELECT')", f"swarmsync.{row['tablename']}")
    }


async def test_a_plan_changes_nothing(ann, engine, scheduler):
    parent = await ann.submit()
    before = await contents(engine)
    assert before["jobs"]
    await plan(ann, after=[{"job": parent["id"]}], array={"range": "0-9"}, concurrency={"key": "k", "limit": 1})
    assert await contents(engine) == before


async def test_a_plan_says_later_with_blockers_and_when(ann, scheduler):
    answer = await plan(ann)
    assert (answer["verdict"], reasons(answer), answer["position"]) == (
        "later",
        ["UserQuota", "Priority", "Resources"],
        4,
    )
    assert answer["starts_at"] is not None
    assert answer["message"] == "it would wait: UserQuota, 2 of 2 jobs run"
    assert scheduler.asked[-1].kind == "plan"


async def test_a_plan_says_now_and_where(ann, scheduler):
    scheduler.answer = write(Explanation(verdict="now", worker="w7"))
    answer = await plan(ann)
    assert (answer["verdict"], answer["worker"], answer["blockers"]) == ("now", "w7", [])
    later = await plan(ann, delay="1h")
    assert (later["verdict"], later["worker"], reasons(later), later["state"]) == (
        "later",
        None,
        ["StartTime"],
        "scheduled",
    )


async def test_a_plan_says_never(ann, scheduler):
    blocker = Blocker(WaitReason.UNSATISFIABLE, "no worker has 64 cpus")
    scheduler.answer = write(Explanation((blocker,), verdict="never"))
    answer = await plan(ann, resources={"cpus": 64})
    assert (answer["verdict"], answer["starts_at"]) == ("never", None)


async def test_a_plan_knows_what_a_submission_would_refuse(ann, scheduler, fresh_name):
    scheduler.answer = write(Explanation(verdict="now", worker="w7"))
    key = {"key": fresh_name, "limit": 1, "on_limit": "reject"}
    assert (await plan(ann, concurrency=key))["verdict"] == "now"
    await ann.submit(concurrency=key)
    answer = await plan(ann, concurrency=key)
    assert (answer["verdict"], reasons(answer)) == ("never", ["ConcurrencyLimit"])


async def test_a_plan_knows_what_parents_have_come_to(ann, engine, scheduler):
    scheduler.answer = write(Explanation(verdict="now", worker="w7"))
    done, gone, waits = await ann.submit(), await ann.submit(), await ann.submit()
    await engine.starts(done["id"])
    await engine.ends(done["id"])
    await ann.post(f"/v1/jobs/{gone['id']}/cancel")
    assert (await plan(ann, after=[{"job": done["id"]}]))["verdict"] == "now"
    assert (await plan(ann, after=[{"job": waits["id"]}]))["verdict"] == "later"
    answer = await plan(ann, after=[{"job": gone["id"]}])
    assert (answer["verdict"], reasons(answer)) == ("never", ["DependencyNeverSatisfied"])


async def test_a_plan_takes_the_parents_that_a_submission_takes(ann, scheduler):
    scheduler.answer = write(Explanation(verdict="now", worker="w7"))
    array = await ann.submit(array={"range": "0-2"})
    answer = await plan(ann, after=[{"job": f"{array['id']}[1]"}])
    assert (answer["verdict"], reasons(answer)) == ("later", ["Dependency"])
    both = {"jobs": [{"image": "a"}, {"image": "b", "after": [{"job": "#0"}]}]}
    first, second = (await ann.post("/v1/jobs/plan", both)).json["jobs"]
    assert (first["verdict"], second["verdict"], second["starts_at"]) == ("now", "later", None)
    assert second["message"] == "it would wait: Dependency, waits for #0 of the same request"
    for wrong in ("#1", "#7", f"{array['id']}[3]"):
        answer = await ann.post("/v1/jobs/plan", {"jobs": [{"image": "a"}, {"image": "b", "after": [{"job": wrong}]}]})
        assert (answer.status, answer.wrong_paths) == (422, ["$.jobs[1].after[0].job"])


async def test_a_check_looks_for_parents_as_a_submission_does(ann):
    parent = (await ann.submit())["id"]
    good = {"jobs": [{"image": "a"}, {"image": "b", "after": [{"job": "#0"}, {"job": parent}]}]}
    assert (await ann.post("/v1/jobs/validate", good)).status == 200
    for wrong in ("#1", "0000000000000", "no-id"):
        spec = {"image": "b", "after": [{"job": wrong}]}
        answer = await ann.post("/v1/jobs/validate", {"jobs": [{"image": "a"}, spec]})
        assert (answer.status, answer.wrong_paths) == (422, ["$.jobs[1].after[0].job"])
        assert (await ann.post("/v1/jobs/validate", spec)).wrong_paths == ["$.after[0].job"]


async def test_a_wrong_spec_or_parent_is_refused_with_its_place(ann, scheduler):
    assert (await ann.post("/v1/jobs/plan", {"image": "a", "cpus": 1})).status == 422
    answer = await ann.post("/v1/jobs/plan", {"image": "a", "after": [{"job": "0000000000000"}]})
    assert (answer.status, answer.wrong_paths) == (422, ["$.after[0].job"])


async def test_several_specs_are_planned_one_by_one_up_to_twenty(ann, scheduler):
    answer = await ann.post("/v1/jobs/plan", {"jobs": [{"image": "a"}, {"image": "b"}]})
    assert [entry["verdict"] for entry in answer.json["jobs"]] == ["later", "later"]
    many = await ann.post("/v1/jobs/plan", {"jobs": [{"image": "a"}] * 21})
    assert (many.status, many.wrong_paths) == (422, ["$.jobs"])


async def test_a_plan_without_a_scheduler_is_503(ann, engine):
    answer = await ann.post("/v1/jobs/plan", {"image": "a", "resources": {"cpus": 3.25}})
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert json.loads(answer.content)["detail"]
