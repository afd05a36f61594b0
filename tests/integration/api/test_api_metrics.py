"""`/metrics` as Prometheus reads it: the rules that `promtool check metrics` has, and figures that are true."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swarmsync.model.lifecycle import JobState
from swarmsync.store import invariants
from tests.integration.api.conftest import as_engine

pytestmark = pytest.mark.integration

GRAFANA = Path(__file__).parents[3] / "conf" / "grafana-dashboard.json"
#: Units and words that Prometheus asks for in other forms.
POOR_UNITS = re.compile(r"_(?:ms|milliseconds|minutes|hours|kib|mib|kilobytes|percent|pct)(?:_|$)")
MODULE = {
    "state": "running",
    "restarts": 2,
    "turns": 7,
    "pulse_age_ms": 40,
    "memory_bytes": 1_000,
    "cpu_percent": 50.0,
    "pulse_lag_ms": {"fast": 3.0},
    "rings": {"inbox": {"fill": 0.5, "put": 9, "taken": 8, "waiting": 1, "dropped": 0, "oldest_ms": 20}},
}


@pytest.fixture
async def module(anonymous):
    redis = anonymous.life_span.services().redis
    await redis.hset("swarmsync:modules", "scheduler", json.dumps(MODULE))
    yield "scheduler"
    await redis.delete("swarmsync:modules")


def families(answer):
    assert answer.status == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def figure(found, name, **labels):
    family = found[name.removesuffix("_total").removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")]
    return sum(s.value for s in family.samples if s.name == name and labels.items() <= s.labels.items())


def rise(before, after, name, **labels):
    return figure(after, name, **labels) - figure(before, name, **labels)


async def test_names_units_and_kinds_follow_the_conventions(oscar, ann, module):
    await ann.submit()
    answer = await oscar.get("/metrics")
    found = families(answer)
    seen = [line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE ")]
    assert len(seen) == len(set(seen)), "a family is written twice"
    for family in found.values():
        assert re.fullmatch(r"swarmsync_[a-z][a-z0-9_]*", family.name)
        assert family.documentation.endswith("."), family.name
        assert not POOR_UNITS.search(family.name), family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        for sample in family.samples:
            assert (sample.name.endswith("_total")) == (family.type == "counter"), sample.name
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels)
            assert sample.value >= 0, sample
            if family.type != "histogram":
                assert not sample.name.endswith(("_count", "_sum", "_bucket")), sample.name
        keys = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        assert len(keys) == len(set(keys)), f"{family.name} has a series twice"


async def test_modules_rings_and_dependencies_are_told(oscar, module):
    found = families(await oscar.get("/metrics"))
    assert figure(found, "swarmsync_module_up", module="scheduler") == 1
    assert figure(found, "swarmsync_module_up", module="harvester") == 0
    assert figure(found, "swarmsync_module_restarts_total", module="scheduler") == 2
    assert figure(found, "swarmsync_module_pulse_lag_seconds", module="scheduler", pulse="fast") == 0.003
    assert figure(found, "swarmsync_ring_fill_ratio", ring="inbox") == 0.5
    assert figure(found, "swarmsync_ring_taken_records_total", ring="inbox", reader="scheduler") == 8
    assert {figure(found, "swarmsync_dependency_up", dependency=name) for name in ("postgresql", "redis", "nats")} == {
        1
    }
    told = {sample.labels["invariant"] for sample in found["swarmsync_invariant_breaks"].samples}
    assert told == invariants.QUESTIONS.keys()
    jobs = found["swarmsync_jobs"]
    assert {sample.labels["state"] for sample in jobs.samples} == {state.value for state in JobState}


async def test_what_ends_is_counted_once_whoever_asks(oscar, ann, servers):
    before = families(await oscar.get("/metrics"))
    job = (await ann.submit())["id"]
    connection = await as_engine(servers)
    row = await connection.fetchrow("SELECT id, user_id FROM jobs ORDER BY id DESC LIMIT 1")
    await connection.execute(
        "UPDATE jobs SET state = 'cancelled', reason = 'CancelledByUser', fence = 1, submitted_at = clock_timestamp() - interval '9 s',"
        " started_at = clock_timestamp() - interval '2 s', finished_at = clock_timestamp() WHERE id = $1",
        row["id"],
    )
    await connection.execute(
        "INSERT INTO job_events (job_id, user_id, state, reason) VALUES ($1, $2, 'cancelled', 'CancelledByUser')",
        row["id"],
        row["user_id"],
    )
    await connection.close()
    assert (await ann.get(f"/v1/jobs/{job}")).json["state"] == "cancelled"
    for _ in range(2):
        after = families(await oscar.get("/metrics"))
        assert rise(before, after, "swarmsync_job_events_total", state="queued") == 1
        assert rise(before, after, "swarmsync_jobs_ended_total", state="cancelled", reason="CancelledByUser") == 1
        assert rise(before, after, "swarmsync_job_run_seconds_count") == 1
        assert rise(before, after, "swarmsync_job_run_seconds_bucket", le="1.0") == 0
        assert rise(before, after, "swarmsync_job_run_seconds_bucket", le="2.5") == 1
        assert rise(before, after, "swarmsync_job_submit_to_start_seconds_bucket", le="5.0") == 0
        assert rise(before, after, "swarmsync_job_submit_to_start_seconds_bucket", le="10.0") == 1
        assert 1.9 < rise(before, after, "swarmsync_job_run_seconds_sum") < 3


async def test_who_may_read_them(start_api, anonymous, ann):
    assert (await anonymous.get("/metrics")).status == 401
    assert (await ann.get("/metrics")).status == 403
    local = await start_api(open_metrics=True)
    assert "swarmsync_jobs{" in (await local.get("/metrics")).text
    assert (await local.get("/metrics", X_Forwarded_For="203.0.113.7")).status == 401
    assert (await local.at("203.0.113.7").get("/metrics")).status == 401
    assert (await local.get("/v1/modules")).status == 401


async def test_the_grafana_dashboard_asks_only_for_what_there_is(oscar, ann, module):
    board = json.loads(GRAFANA.read_text())
    found = families(await oscar.get("/metrics"))
    ends = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    names = {f"{family.name}{end}" for family in found.values() for end in ends[family.type]}
    asked = set()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            asked |= set(re.findall(r"swarmsync_[a-z0-9_]+", target["expr"]))
    assert len(asked) >= 15
    assert asked <= names
