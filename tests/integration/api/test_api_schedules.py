from datetime import UTC, datetime

import pytest

from swarmsync import ids

pytestmark = pytest.mark.integration

JOB = {"image": "alpine:3.20", "command": "make report"}
PATH = "/v1/schedules"


@pytest.fixture
def make(ann, fresh_name):
    """Make a schedule as ann; its name is `fresh_name` unless another is given."""

    async def one(**fields):
        answer = await ann.post(PATH, {"name": fresh_name, "cron": "0 2 * * *", "job": JOB, **fields})
        assert answer.status == 201, answer.text
        return answer.json

    return one


async def test_a_schedule_reads_back_as_it_was_answered(ann, fresh_name):
    document = {"name": fresh_name, "cron": "H 2 * * *", "timezone": "Europe/Berlin", "jitter": "5m", "job": JOB}
    answer = await ann.post(PATH, document)
    made = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert (await ann.get(f"{PATH}/{made['id']}")).json == made
    shown = {name: made[name] for name in ("user", "paused", "overlap", "misfire", "misfire_window", "jitter", "start")}
    assert shown == {
        "user": "ann",
        "paused": False,
        "overlap": "skip",
        "misfire": "last",
        "misfire_window": "1h",
        "jitter": "5m",
        "start": None,
    }
    assert (made["job"]["image"], made["job"]["command"]) == ("alpine:3.20", ["make", "report"])
    assert made["next_fire_at"].endswith("Z")
    assert made["next_fire_local"][10:14] == "T02:"
    assert made["next_fire_local"][-6:] in ("+01:00", "+02:00")


async def test_a_schedule_is_found_by_id_name_and_beginning(ann, make, fresh_name):
    made = await make()
    for which in (made["id"], fresh_name, made["id"][:12]):
        assert (await ann.get(f"{PATH}/{which}")).json["id"] == made["id"], which


async def test_a_beginning_of_several_is_a_conflict_that_names_them(ann, make, fresh_name):
    first = await make(name=f"{fresh_name}-a")
    second = await make(name=f"{fresh_name}-b")
    answer = await ann.get(f"{PATH}/{first['id'][:4]}")
    assert first["id"][:4] == second["id"][:4]
    assert answer.status == 409
    assert second["id"] in answer.json["detail"]


async def test_others_cannot_tell_a_schedule_from_none(bob, oscar, make, fresh_name, engine):
    made = await make()
    calls = [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
        ("GET", "/history"),
    ]
    for method, rest in [*calls, ("PATCH", "")]:
        body = {"overlap": "allow"} if method == "PATCH" else None
        details = []
        for which in (made["id"], fresh_name, "0000000000001", "no-such-name"):
            answer = await bob.call(method, f"{PATH}/{which}{rest}", body)
            assert answer.status == 404, (method, rest, which, answer.text)
            details.append(answer.json["detail"].replace(which, "X"))
        assert len(set(details)) == 1, details
    assert (await bob.get(f"{PATH}?name={fresh_name}")).json["items"] == []
    assert (await oscar.get(f"{PATH}/{fresh_name}")).json["id"] == made["id"]
    assert [item["id"] for item in (await oscar.get(f"{PATH}?name={fresh_name}&user=ann")).json["items"]] == [
        made["id"]
    ]


async def test_names_are_unique_per_user(ann, bob, make, fresh_name):
    await make()
    assert (await ann.post(PATH, {"name": fresh_name, "cron": "@daily", "job": JOB})).status == 409
    assert (await bob.post(PATH, {"name": fresh_name, "cron": "@daily", "job": JOB})).status == 201
    other = await make(name=f"{fresh_name}-2")
    assert (await ann.call("PATCH", f"{PATH}/{other['id']}", {"name": fresh_name})).status == 409


async def test_a_schedule_without_a_name_is_given_one(ann):
    named = await ann.post(PATH, {"cron": "@daily", "job": {"image": "ghcr.io/a/tool:3@sha256:ab"}})
    assert named.json["name"].startswith("tool-")
    assert (await ann.call("DELETE", f"{PATH}/{named.json['id']}")).status == 204


async def test_lists_filter_and_page(ann, make, fresh_name):
    made = [(await make(name=f"{fresh_name}-{number}"))["id"] for number in range(5)]
    await ann.post(f"{PATH}/{made[1]}/pause")

    async def listed(query):
        return [item["id"] for item in (await ann.get(f"{PATH}?name={fresh_name}*&{query}")).json["items"]]

    assert await listed("") == made[::-1]
    assert await listed("paused=true") == [made[1]]
    assert made[1] not in await listed("paused=false")
    assert await listed("user=bob") == []
    page = (await ann.get(f"{PATH}?name={fresh_name}*&limit=2")).json
    assert [item["id"] for item in page["items"]] == made[:2:-1]
    assert await listed(f"limit=3&cursor={page['next_cursor']}") == made[2::-1]
    assert (await ann.get(f"{PATH}?paused=maybe")).wrong_paths == ["?paused"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"cron": "61 * * * *"}, ["$.cron"]),
        ({"cron": "* * *"}, ["$.cron"]),
        ({"cron": "0 0 31 2 *"}, ["$.cron"]),
        ({"cron": "@never"}, ["$.cron"]),
        ({"cron": ""}, ["$.cron"]),
        ({"cron": 5}, ["$.cron"]),
        ({"cron": "1," * 5_000 + "1 * * * *"}, None),
        ({"cron": "0 0 * * 1#9"}, ["$.cron"]),
        ({"cron": None}, ["$.cron"]),
        ({"timezone": "Europe/Berln"}, ["$.timezone"]),
        ({"timezone": "../../etc/passwd"}, ["$.timezone"]),
        ({"timezone": ""}, ["$.timezone"]),
        ({"timezone": "Europe"}, ["$.timezone"]),
        ({"timezone": "A" * 5_000}, ["$.timezone"]),
        ({"overlap": "both"}, ["$.overlap"]),
        ({"misfire": 1}, ["$.misfire"]),
        ({"jitter": "fast"}, ["$.jitter"]),
        ({"jitter": "30d"}, ["$.jitter"]),
        ({"misfire_window": -1}, ["$.misfire_window"]),
        ({"delay": "5m"}, ["$.delay"]),
        ({"at": "tomorrow"}, ["$.at"]),
        ({"cron": None, "at": "2020-01-01T00:00:00Z"}, ["$.at"]),
        ({"cron": None, "at": "2036-01-01T00:00:00"}, ["$.at"]),
        ({"cron": None, "at": "0001-01-01T00:00:00+23:59"}, ["$.at"]),
        ({"start": "9999-12-31T23:59:59-23:59"}, ["$.start"]),
        ({"end": "2020-01-01T00:00:00Z"}, ["$.end"]),
        ({"start": "2036-01-02T00:00:00Z", "end": "2036-01-01T00:00:00Z"}, ["$.end"]),
        ({"job": {"image": "not an image"}}, ["$.job.image"]),
        ({"job": {}}, None),
        ({"job": 3}, ["$.job"]),
        ({"job": {**JOB, "queue": "nowhere"}}, ["$.job.queue"]),
        ({"job": {**JOB, "run_at": "2036-01-01T00:00:00Z"}}, ["$.job.run_at"]),
        ({"job": {**JOB, "imge": "x"}}, ["$.job.imge"]),
        ({"crn": "x"}, ["$.crn"]),
        ({"name": ""}, ["$.name"]),
        ({"name": "x" * 200}, ["$.name"]),
    ],
    ids=repr,
)
async def test_wrong_schedules_are_422_and_name_the_place(ann, make, fresh_name, fields, paths):
    document = {"name": fresh_name, "cron": "0 2 * * *", "job": JOB, **fields}
    answer = await ann.post(PATH, document)
    if paths is None:
        assert answer.status in (201, 422), answer.text
    else:
        assert (answer.status, answer.wrong_paths) == (422, paths), answer.text
        made = await make(name=f"{fresh_name}-patched")
        patched = await ann.call("PATCH", f"{PATH}/{made['id']}", fields)
        assert patched.status == 422, patched.text
        assert (await ann.get(f"{PATH}/{made['id']}")).json == made
    asked = await ann.post(f"{PATH}/preview", document)
    assert asked.status in (200, 422), asked.text


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"3", b'"x"', b"{", b'{"name": "a\\u0000b"}', b'{"cron": "@daily"}', b"null"]
)
async def test_what_is_no_schedule_is_refused(ann, make, body):
    made = await make()
    for method, path in (("POST", PATH), ("POST", f"{PATH}/preview"), ("PATCH", f"{PATH}/{made['id']}")):
        assert (await ann.call(method, path, body)).status in (200, 400, 422), (method, path)


@pytest.mark.parametrize("which", ["a%00b", "%ff%fe", "x" * 300, "*", "..", "1" * 13, "zzzzzzzzzzzzz", "0000", "é"])
async def test_odd_addresses_are_404(ann, which):
    assert (await ann.get(f"{PATH}/{which}")).status == 404


async def test_patch_merges_and_null_takes_back_to_the_default(ann, make):
    made = await make(overlap="queue", jitter="5m", job={**JOB, "labels": {"a": "1", "b": "2"}})
    changes = {"cron": "@hourly", "jitter": None, "job": {"labels": {"a": None}, "resources": {"memory": "1GiB"}}}
    changed = (await ann.call("PATCH", f"{PATH}/{made['id']}", changes)).json
    assert (changed["cron"], changed["overlap"], changed["job"]["labels"]) == ("@hourly", "queue", {"b": "2"})
    assert changed["job"]["resources"]["memory"] == "1GiB"
    assert changed["jitter"] != "5m"
    assert changed["next_fire_at"] < made["next_fire_at"] or changed["next_fire_at"][14:16] == "00"
    once = (await ann.call("PATCH", f"{PATH}/{made['id']}", {"cron": None, "at": "2036-01-01T00:00:00+01:00"})).json
    assert (once["cron"], once["next_fire_at"]) == (None, "2035-12-31T23:00:00.000000Z")


async def test_a_patch_may_be_flat_as_a_new_schedule_may(ann, make):
    made = await make()
    changes = {"cron": "@hourly", "image": "other:2", "priority": 70, "name": f"{made['name']}-2"}
    changed = (await ann.call("PATCH", f"{PATH}/{made['id']}", changes)).json
    assert (changed["cron"], changed["name"]) == ("@hourly", f"{made['name']}-2")
    assert changed["job"] == {**made["job"], "image": "other:2", "priority": 70}


@pytest.mark.parametrize(
    ("key", "neighbour"),
    [("timezoen", "timezone"), ("corn", "cron"), ("overlapp", "overlap"), ("enviroment", "environment")],
)
async def test_an_unknown_key_of_a_flat_schedule_names_the_nearest_of_both(ann, make, key, neighbour):
    wrong = [{"path": f"$.{key}", "message": f"is not a known field; did you mean {neighbour}?"}]
    made = await make()
    flat = await ann.post(PATH, {"image": "a", "cron": "@daily", key: "x"})
    patch = await ann.call("PATCH", f"{PATH}/{made['id']}", {key: "x"})
    for answer in (flat, patch):
        assert (answer.status, answer.json["errors"]) == (422, wrong)


async def test_pause_and_resume_may_be_repeated(ann, make):
    made = await make()
    for verb, paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        answer = await ann.post(f"{PATH}/{made['id']}/{verb}")
        assert (answer.status, answer.json["paused"]) == (202, paused)


async def test_trigger_makes_a_job_of_the_schedule(ann, make):
    made = await make()
    answer = await ann.post(f"{PATH}/{made['name']}/trigger")
    job = answer.json
    assert answer.status == 202, answer.text
    assert (job["state"], job["schedule_id"], job["spec"]) == ("queued", made["id"], made["job"])
    shown = (await ann.get(f"/v1/jobs/{job['id']}")).json
    assert (shown.pop("ledger")[0]["phase"], shown.pop("obituary")) == ("evaluating", None)  # only a GET has these
    assert shown == job
    for which in (made["id"], made["id"][:12], made["name"]):
        listed = (await ann.get(f"/v1/jobs?schedule={which}")).json["items"]
        assert [item["id"] for item in listed] == [job["id"]]
    assert (await ann.get("/v1/jobs?schedule=no-such-schedule")).status == 404
    (entry,) = (await ann.get(f"{PATH}/{made['id']}/history")).json["items"]
    assert (entry["outcome"], entry["job_id"]) == ("triggered", job["id"])
    assert 0 <= entry["lateness_ms"] < 60_000
    shown = (await ann.get(f"{PATH}/{made['id']}")).json
    assert (shown["next_fire_at"], shown["last_job_id"]) == (made["next_fire_at"], job["id"])
    assert (await ann.post(f"{PATH}/{made['name']}/trigger", {"image": "other"})).status == 422


async def test_history_has_pages_of_due_instants(ann, make, engine):
    made = await make()
    job = (await ann.post(f"{PATH}/{made['id']}/trigger")).json["id"]
    rows = [("fired", 1), ("late", 2), ("skipped", None), ("missed", None)]
    for minute, (outcome, late_s) in enumerate(rows):
        await engine.sql.execute(
            "INSERT INTO schedule_fires (schedule_id, user_id, due_at, outcome, reason, job_id, at)"
            " SELECT id, user_id, t, $3, 'because', $4, t + COALESCE($5, 0) * interval '1 second'"
            " FROM schedules, CAST($2 AS timestamptz) AS t WHERE id = $1",
            ids.decode(made["id"]),
            datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
            outcome,
            ids.decode(job) if late_s is not None else None,
            late_s,
        )
    path, cursor, entries = f"{PATH}/{made['id']}/history?limit=2", "", []
    while cursor is not None:
        page = (await ann.get(f"{path}&cursor={cursor}")).json
        entries += page["items"]
        cursor = page["next_cursor"]
    assert [entry["outcome"] for entry in entries] == ["triggered", "missed", "skipped", "late", "fired"]
    assert [entry["lateness_ms"] for entry in entries[1:]] == [None, None, 2_000, 1_000]
    assert entries[-1] == {
        "due_at": "2026-01-01T00:00:00.000000Z",
        "outcome": "fired",
        "reason": "because",
        "message": "",
        "job_id": job,
        "fired_at": "2026-01-01T00:00:01.000000Z",
        "lateness_ms": 1_000,
    }
    for wrong in ("x", "1-", "-1", "9" * 18 + "-1"):
        assert (await ann.get(f"{path}&cursor={wrong}")).wrong_paths == ["?cursor"]


async def test_delete_takes_the_schedule_and_leaves_its_jobs(ann, make):
    made = await make()
    job = (await ann.post(f"{PATH}/{made['id']}/trigger")).json["id"]
    assert (await ann.call("DELETE", f"{PATH}/{made['id']}")).status == 204
    assert (await ann.get(f"{PATH}/{made['id']}")).status == 404
    assert (await ann.call("DELETE", f"{PATH}/{made['id']}")).status == 404
    assert (await ann.get(f"/v1/jobs/{job}")).json["schedule_id"] == made["id"]
    assert [item["id"] for item in (await ann.get(f"/v1/jobs?schedule={made['id']}")).json["items"]] == [job]


async def test_the_same_key_gives_the_first_answer_again(ann, fresh_name):
    document = {"cron": "@daily", "job": JOB}
    first = await ann.post(PATH, document, Idempotency_Key=fresh_name)
    again = await ann.post(PATH, document, Idempotency_Key=fresh_name)
    assert (first.status, again.status, again.headers["idempotent-replay"]) == (201, 201, "true")
    assert again.json == first.json
    assert (await ann.post(PATH, {**document, "cron": "@hourly"}, Idempotency_Key=fresh_name)).status == 409
    assert (await ann.post(PATH, document, Idempotency_Key="é")).status == 400


async def preview(ann, cron, zone, after, count=3, **more):
    document = {"cron": cron, "timezone": zone, "from": after, "count": count, **more}
    answer = await ann.post(f"{PATH}/preview", document)
    assert answer.status == 200, answer.text
    return [(item["local"], item["note"]) for item in answer.json["items"]]


async def test_preview_over_the_clock_changes_of_berlin(ann):
    assert await preview(ann, "30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00Z") == [
        ("2027-03-27T02:30:00+01:00", None),
        ("2027-03-28T03:00:00+02:00", "02:30 does not exist on this day; moved to 03:00"),
        ("2027-03-29T02:30:00+02:00", None),
    ]
    assert await preview(ann, "30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00Z", 2) == [
        ("2027-10-31T02:30:00+02:00", "02:30 occurs twice on this day; it fires at the first only"),
        ("2027-11-01T02:30:00+01:00", None),
    ]
    merged = await preview(ann, "15,45 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", 1)
    assert merged[0][1] == "02:15, 02:45 do not exist on this day; merged into one fire at 03:00"
    elapsed = await preview(ann, "*/30 * * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", 3)
    assert elapsed == [(f"2027-03-28T{time}", None) for time in ("01:30:00+01:00", "03:00:00+02:00", "03:30:00+02:00")]


async def test_preview_over_the_clock_changes_of_lord_howe(ann):
    assert await preview(ann, "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2) == [
        ("2026-10-04T02:30:00+11:00", "02:15 does not exist on this day; moved to 02:30"),
        ("2026-10-05T02:15:00+11:00", None),
    ]
    assert await preview(ann, "45 1 * * *", "Australia/Lord_Howe", "2027-04-03T00:00:00Z", 2) == [
        ("2027-04-04T01:45:00+11:00", "01:45 occurs twice on this day; it fires at the first only"),
        ("2027-04-05T01:45:00+10:30", None),
    ]


async def test_preview_takes_whole_schedules_and_bounds(ann, fresh_name):
    whole = {"name": fresh_name, "cron": "H H * * *", "job": JOB, "jitter": "5m"}
    answer = (await ann.post(f"{PATH}/preview", whole)).json
    assert (len(answer["items"]), answer["name"], answer["timezone"]) == (5, fresh_name, "UTC")
    assert all(item["at"] < item["latest"] for item in answer["items"])
    assert len((await ann.post(f"{PATH}/preview", {"cron": "@daily", "count": 100})).json["items"]) == 100
    for wrong in ({"count": 0}, {"count": 101}, {"from": "2020-01-01T00:00:00"}, {"from": "9999-12-31T23:59:59Z"}):
        answer = await ann.post(f"{PATH}/preview", {"cron": "@daily", **wrong})
        assert answer.wrong_paths == [f"$.{next(iter(wrong))}"], answer.text
    past = {"at": "2020-01-01T00:00:00Z"}
    assert (await ann.post(f"{PATH}/preview", past)).json["items"] == []


async def test_a_flat_document_is_a_spec_with_its_times(ann, fresh_name):
    made = await ann.post(PATH, {"name": fresh_name, "image": "alpine", "command": "true", "cron": "@daily"})
    assert made.status == 201, made.text
    assert made.json["job"]["image"] == "alpine"
    refused = await ann.post(PATH, {"name": f"{fresh_name}-2", "image": 5, "cron": "@daily"})
    assert [error["path"] for error in refused.json["errors"]] == ["$.image"]


@pytest.mark.parametrize(
    ("job", "place"),
    [
        ({"secrets": ["of-nobody"]}, "$.job.secrets[0]"),
        ({"security": {"privileged": True}}, "$.job.security.privileged"),
        ({"volumes": ["/etc:/host"]}, "$.job.volumes[0]"),
    ],
)
async def test_a_patch_is_held_to_secrets_and_policies_as_a_new_schedule_is(ann, make, job, place):
    made = await make()
    answer = await ann.call("PATCH", f"{PATH}/{made['id']}", {"job": job})
    assert (answer.status, answer.wrong_paths) == (422, [place]), answer.text
    assert (await ann.get(f"{PATH}/{made['id']}")).json == made
