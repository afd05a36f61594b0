"""A spec as users write it: the contract's own example, unknown keys, numbers no one can mean."""

from datetime import datetime

import pytest

from cli.spec_files import read_specs
from swarmsync.errors import SpecError
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.spec import JobSpec, Retry, VolumeSpec, check, need, read_volume, shape_of
from swarmsync.protocol.codec import convert_spec, decode_stored_spec, encode_json

EXAMPLE = """
name: nightly-report
image: alpine:3.20
entrypoint: ["sh", "-c"]
command: ["make report"]
environment: {MODE: full}
working_dir: /work
user: "1000"
init: true
volumes: ["cache:/cache", {type: tmpfs, target: /tmp, size: 256MiB}]
network: none
resources: {cpus: 0.5, memory: 256MiB, pids: 512, gpus: 0, disk: 1GiB}
queue: default
priority: 50
labels: {team: ml}
timeout: 2h
queue_timeout: 6h
stop: {signal: SIGTERM, grace: 10s}
retry: {attempts: 3, backoff: exponential, delay: 10s, max_delay: 10m, jitter: 0.2, on: [error, oom],
        not_on_exit: [2, 64-78]}
array: {range: 0-999}
run_at: 2026-11-24T02:00:00+01:00
logs: {max: 50MiB, on_limit: truncate}
"""


def wrong(**fields):
    """Return the one error of a spec with these fields."""
    with pytest.raises(SpecError) as caught:
        convert_spec({"image": "alpine", **fields})
    (error,) = caught.value.errors
    return error


@pytest.fixture
def example(tmp_path):
    (tmp_path / "job.yaml").write_text(EXAMPLE)
    (document,) = read_specs(str(tmp_path / "job.yaml"))
    return document


def test_the_example_of_the_documents_is_read_and_can_run(example):
    spec = convert_spec(example)
    assert check(spec) == []
    assert (spec.name, spec.image, spec.user, spec.network) == ("nightly-report", "alpine:3.20", "1000", "none")
    assert (spec.entrypoint, spec.command) == (("sh", "-c"), ("make report",))
    assert (spec.timeout, spec.queue_timeout, spec.stop.grace) == (7_200_000, 21_600_000, 10_000)
    assert spec.retry == Retry(3, not_on_exit=(2, "64-78"))
    assert list(spec.array.indexes())[-1] == 999
    assert spec.run_at == datetime.fromisoformat("2026-11-24T01:00:00+00:00")
    assert need(spec) == Need(500, 256 << 20, 0, 1 << 30)


def test_a_spec_is_stored_and_read_again_without_change(example):
    spec = convert_spec(example)
    assert decode_stored_spec(encode_json(spec)) == spec


def test_an_image_is_enough_and_the_defaults_are_the_documented_ones():
    spec = convert_spec({"image": "alpine"})
    assert check(spec) == []
    assert need(spec) == Need(1_000, 512 << 20, 0, 0)
    assert (spec.resources.pids, spec.priority, spec.retry.attempts, spec.timeout, spec.queue) == (
        1024,
        50,
        1,
        None,
        "default",
    )


@pytest.mark.parametrize(
    ("fields", "path", "neighbour"),
    [
        ({"imag": "x"}, "$.imag", "image"),
        ({"enviroment": {}}, "$.enviroment", "environment"),
        ({"env": {}}, "$.env", "environment"),
        ({"cmd": "x"}, "$.cmd", "command"),
        ({"cpus": 1}, "$.cpus", "resources.cpus"),
        ({"memory": "1g"}, "$.memory", "resources.memory"),
        ({"depends_on": []}, "$.depends_on", "after"),
        ({"retries": 3}, "$.retries", "retry.attempts"),
        ({"cron": "* * * * *"}, "$.cron", "a schedule of its own (consumer schedule create)"),
        ({"resources": {"cpu": 1}}, "$.resources.cpu", "cpus"),
        ({"retry": {"attemps": 3}}, "$.retry.attemps", "attempts"),
        ({"stop": {"gracee": "1s"}}, "$.stop.gracee", "grace"),
        ({"array": {"ranges": "0-1"}}, "$.array.ranges", "range"),
        ({"security": {"readonly": True}}, "$.security.readonly", "read_only"),
        ({"rate": {"keyy": "k"}}, "$.rate.keyy", "key"),
        ({"logs": {"maxx": 1}}, "$.logs.maxx", "max"),
        ({"volumes": [{"targte": "/x"}]}, "$.volumes[0].targte", "target"),
        ({"after": ["x", {"job": "x", "whn": 1}]}, "$.after[1].whn", "when"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(fields, path, neighbour):
    if "after" in fields:
        fields = {"after": [{"job": "y"}, fields["after"][1]]}
    error = wrong(**fields)
    assert (error.path, error.message) == (path, f"is not a known field; did you mean {neighbour}?")


def test_an_unknown_key_without_neighbour_lists_the_known_ones():
    error = wrong(resources={"zzz": 1})
    assert error.message == "is not a known field; known are cpus, memory, pids, gpus, disk"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"resources": {"cpus": float("nan")}}, "$.resources.cpus"),
        ({"resources": {"cpus": float("inf")}}, "$.resources.cpus"),
        ({"resources": {"cpus": 10**400}}, "$.resources.cpus"),
        ({"resources": {"cpus": 0}}, "$.resources.cpus"),
        ({"resources": {"gpus": 2**70}}, "$.resources.gpus"),
        ({"resources": {"pids": True}}, "$.resources.pids"),
        ({"retry": {"jitter": float("nan")}}, "$.retry.jitter"),
        ({"retry": {"jitter": 1.1}}, "$.retry.jitter"),
        ({"retry": {"attempts": 0}}, "$.retry.attempts"),
        ({"retry": {"attempts": 2.5}}, "$.retry.attempts"),
        ({"retry": {"on": ["erorr"]}}, "$.retry.on[0]"),
        ({"retry": {"memory_factor": float("nan")}}, "$.retry.memory_factor"),
        ({"priority": 101}, "$.priority"),
        ({"priority": "50"}, "$.priority"),
        ({"priority": -(2**63)}, "$.priority"),
        ({"name": "x" * 129}, "$.name"),
        ({"array": {"range": "0..9"}}, "$.array.range"),
        ({"array": {"range": "0-1000000000"}}, "$.array.range"),
        ({"stop": {"signal": "sigterm"}}, "$.stop.signal"),
        ({"run_at": "tomorrow"}, "$.run_at"),
        ({"labels": {"a": 1}}, "$.labels[...]"),
        ({"labels": {1: "a"}}, "$.labels"),
        ({"logs": {"on_limit": "drop"}}, "$.logs.on_limit"),
        ({"image": ""}, "$.image"),
    ],
)
def test_a_value_nobody_can_mean_is_refused_at_its_place(fields, path):
    assert wrong(**fields).path == path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retry": {"backoff": "linear"}}, "Invalid enum value 'linear'; known are exponential, fixed, none"),
        ({"retry": {"on": ["error", "x"]}}, "Invalid enum value 'x'; known are error, oom, timeout"),
        ({"logs": {"on_limit": "drop"}}, "Invalid enum value 'drop'; known are fail, truncate"),
        ({"volumes": [{"type": "nfs", "target": "/x"}]}, "Invalid enum value 'nfs'; known are bind, tmpfs, volume"),
        (
            {"concurrency": {"key": "k", "limit": 1, "on_limit": "x"}},
            "Invalid enum value 'x'; known are cancel_oldest, queue, reject",
        ),
        (
            {"after": [{"job": "x", "when": "cancelled"}]},
            "Invalid enum value 'cancelled'; known are failed, finished, succeeded",
        ),
        ({"array": {"range": "0..9"}}, "is not written as it must be; write it like 0-999, or 3,7,10-12"),
        ({"rate": {"key": "k", "limit": "10/m"}}, "is not written as it must be; write it like 10/1m"),
        ({"run_at": "tomorrow"}, "is not a time; write it like 2026-11-24T02:00:00+01:00"),
        ({"stop": {"signal": "sigterm"}}, "is not written as it must be; write it like SIGTERM or SIGINT"),
    ],
)
def test_a_wrong_word_is_answered_with_those_that_are_known(fields, message):
    assert wrong(**fields).message == message


@pytest.mark.parametrize("document", [None, [], "alpine", 3, True, {1: 2}])
def test_what_is_no_document_at_all_is_a_spec_error(document):
    with pytest.raises(SpecError, match=r"^\$"):
        convert_spec(document)


def test_the_root_of_the_path_says_which_job_of_a_batch_is_wrong():
    with pytest.raises(SpecError) as caught:
        convert_spec({"image": "a", "resources": {"cpu": 1}}, root="$.jobs[3]")
    assert caught.value.errors[0].path == "$.jobs[3].resources.cpu"
    assert [error.path for error in check(JobSpec("!"), "$.jobs[3]")] == ["$.jobs[3].image"]


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("cache:/cache", VolumeSpec("/cache", "volume", "cache")),
        ("cache:/cache:ro", VolumeSpec("/cache", "volume", "cache", read_only=True)),
        ("cache:/cache:rw", VolumeSpec("/cache", "volume", "cache")),
        ("/etc:/host", VolumeSpec("/host", "bind", "/etc")),
        ("./x:/host", VolumeSpec("/host", "bind", "./x")),
        ("~/x:/host", VolumeSpec("/host", "bind", "~/x")),
    ],
)
def test_a_volume_in_one_line_is_read_as_docker_does(text, volume):
    assert read_volume(text) == volume


def test_jobs_have_one_shape_exactly_when_placement_sees_no_difference():
    plain = need(convert_spec({"image": "a"}))
    assert shape_of(plain) == shape_of(need(convert_spec({"image": "b", "priority": 9})))
    assert shape_of(plain) != shape_of(need(convert_spec({"image": "a", "resources": {"cpus": 2}})))
    assert shape_of(plain, ("a == b", "c == d")) == shape_of(plain, ("c == d", "a == b"))
    assert 0 <= shape_of(plain) < 1 << 63


def test_the_end_reasons_are_the_documented_words():
    assert EndReason("OOMKilled") is EndReason.OOM_KILLED
