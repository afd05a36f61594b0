"""What `check` says about specs that decode: one case per message, each with the place that it names."""

import pytest

from swarmsync.errors import FieldError, SpecError
from swarmsync.model.spec import check
from swarmsync.protocol.codec import convert_spec

_NO_VOLUME = "is not a volume name; it has two letters, digits, '_', '.' or '-' at least"
CASES = [
    ({"image": "UPPER case"}, ".image", "'UPPER case' is not an image name; write it like alpine:3.20"),
    ({"image": "-x"}, ".image", "'-x' is not an image name; write it like alpine:3.20"),
    ({"image": "Alpine"}, ".image", "'Alpine' is not an image name; write it like alpine:3.20"),
    ({"image": "alpine:"}, ".image", "'alpine:' is not an image name; write it like alpine:3.20"),
    ({"image": "alpine@sha256:xx"}, ".image", "'alpine@sha256:xx' is not an image name; write it like alpine:3.20"),
    ({"image": "a\n"}, ".image", "'a\\n' is not an image name; write it like alpine:3.20"),
    ({"run_at": "2026-01-01T00:00:00Z", "delay": "5m"}, ".delay", "give run_at or delay, not both"),
    ({"run_at": "2026-01-01T00:00:00"}, ".run_at", "has no offset; write it like 2026-11-24T02:00:00+01:00"),
    ({"labels": {str(i): "" for i in range(65)}}, ".labels", "more than 64 labels"),
    ({"labels": {"": "x"}}, ".labels", "label '': a key has 1-128 characters without '=', a value 256 at most"),
    (
        {"labels": {"k" * 129: "x"}},
        ".labels",
        f"label {'k' * 40!r}: a key has 1-128 characters without '=', a value 256 at most",
    ),
    (
        {"labels": {"a=b": "c"}},
        ".labels",
        "label 'a=b': a key has 1-128 characters without '=', a value 256 at most",
    ),
    (
        {"after": [{"job": "x"}, {"job": "y"}, {"job": "x", "when": "failed"}]},
        ".after[2].when",
        "job x is to have succeeded already",
    ),
    ({"labels": {"k": "v" * 257}}, ".labels", "label 'k': a key has 1-128 characters without '=', a value 256 at most"),
    ({"environment": {f"V{i}": "" for i in range(1025)}}, ".environment", "more than 1024 variables"),
    ({"resources": {"cpus": 0.0009}}, ".resources.cpus", "the smallest share is 0.001"),
    ({"resources": {"memory": "5MiB"}}, ".resources.memory", "Docker's smallest limit is 6MiB"),
    ({"timeout": "0s"}, ".timeout", "must be more than 0"),
    ({"stop": {"grace": "61m"}}, ".stop.grace", "one hour at most"),
    ({"array": {"range": "5-4"}}, ".array.range", "5-4 is empty; write it like 0-999"),
    ({"array": {"range": "0-100000"}}, ".array.range", "100001 members; 100000 at most"),
    ({"array": {"range": "0-1", "max_parallel": 1_000_000_001}}, ".array.max_parallel", "1000000000 at most"),
    ({"array": {"range": "0-1", "max_failures": 1_000_000_001}}, ".array.max_failures", "1000000000 at most"),
    ({"concurrency": {"key": "k", "limit": 1_000_000_001}}, ".concurrency.limit", "1000000000 at most"),
    ({"array": {"range": "1-3,2"}}, ".array.range", "1-3,2 names an index twice"),
    ({"deadline": "2026-01-01T00:00:00"}, ".deadline", "has no offset; write it like 2026-11-24T02:00:00+01:00"),
    (
        {"rate": {"key": "k", "limit": "3/0s"}},
        ".rate.limit",
        "the interval lies between 1 ms and 1 day; write it like 10/1m",
    ),
    ({"after": [{"job": "x"}] * 1001}, ".after", "1001 jobs to wait for; 1000 at most"),
    (
        {"retry": {"memory_factor": 2, "on": ["error"]}},
        ".retry.memory_factor",
        "grows memory after an OOM kill: retry.on must contain oom",
    ),
    (
        {"retry": {"attempts": 2, "delay": "1h"}},
        ".retry.max_delay",
        "is less than retry.delay; make it 1h or more",
    ),
    (
        {"volumes": [{"target": "/a", "source": "data", "size": "1GiB"}]},
        ".volumes[0]",
        "size goes with a tmpfs only; a volume grows with what is written",
    ),
    (
        {"volumes": [{"type": "tmpfs", "target": "/a", "source": "data"}]},
        ".volumes[0]",
        "a tmpfs has no source: it begins empty",
    ),
    ({"retry": {"memory_max": "256MiB"}}, ".retry.memory_max", "is less than resources.memory"),
    ({"retry": {"not_on_exit": ["x"]}}, ".retry.not_on_exit", "'x' is no exit code; write 2 or 64-78"),
    ({"retry": {"not_on_exit": [-1]}}, ".retry.not_on_exit", "'-1' is no exit code; write 2 or 64-78"),
    ({"retry": {"not_on_exit": ["1-2-3"]}}, ".retry.not_on_exit", "'1-2-3' is no exit code; write 2 or 64-78"),
    ({"retry": {"not_on_exit": ["70-60"]}}, ".retry.not_on_exit", "'70-60' is no exit code; write 2 or 64-78"),
    ({"working_dir": "rel"}, ".working_dir", "'rel' is not an absolute path"),
    ({"user": "ro ot"}, ".user", "'ro ot' is not a user; write a name or uid, and :group where it is wanted"),
    ({"stop": {"signal": "SIGFOO"}}, ".stop.signal", "'SIGFOO' is not a signal; write it like SIGTERM or SIGINT"),
    ({"volumes": ["cache:/../x"]}, ".volumes[0]", "the target '/../x' must be an absolute path"),
    ({"retry": {"not_on_exit": [1000]}}, ".retry.not_on_exit", "'1000' is no exit code; write 2 or 64-78"),
    (
        {"volumes": ["cache"]},
        ".volumes[0]",
        "'cache' is not a volume; write it like name:/target or name:/target:ro",
    ),
    (
        {"volumes": ["aa:/a", "aa:/b:x"]},
        ".volumes[1]",
        "'aa:/b:x' is not a volume; write it like name:/target or name:/target:ro",
    ),
    ({"volumes": ["a:b"]}, ".volumes[0]", "the target 'b' must be an absolute path"),
    ({"volumes": ["./etc:/x"]}, ".volumes[0]", "the path './etc' must be absolute, without '..'"),
    (
        {"volumes": [{"type": "bind", "source": "/data/../etc", "target": "/x"}]},
        ".volumes[0]",
        "the path '/data/../etc' must be absolute, without '..'",
    ),
    ({"security": {"profile": "strict"}, "user": "root:5"}, ".user", "the strict profile does not run as root"),
    (
        {"security": {"profile": "strict", "privileged": True}},
        ".security.privileged",
        "does not go with the strict profile",
    ),
    ({"volumes": ["a/b:/x"]}, ".volumes[0]", f"'a/b' {_NO_VOLUME}"),
    ({"volumes": ["a:/x"]}, ".volumes[0]", f"'a' {_NO_VOLUME}"),
    ({"volumes": [{"target": "/x"}]}, ".volumes[0]", f"'' {_NO_VOLUME}"),
    ({"volumes": ["aa:/"]}, ".volumes[0]", "nothing can be mounted over '/'; name a directory in the container"),
    (
        {"volumes": ["aa:/x", {"type": "tmpfs", "target": "/x/"}]},
        ".volumes[1]",
        "the target '/x' is taken by a volume before this one",
    ),
    (
        {"network": "container:other"},
        ".network",
        "'container:other' is not a network; write none, bridge or the name of one",
    ),
    ({"network": "a b"}, ".network", "'a b' is not a network; write none, bridge or the name of one"),
    ({"retry": {"not_on_exit": [256]}}, ".retry.not_on_exit", "'256' is no exit code; write 2 or 64-78"),
]


@pytest.mark.parametrize(("fields", "path", "message"), CASES)
def test_each_problem_is_named_with_its_place_and_remedy(fields, path, message):
    assert check(convert_spec({"image": "alpine", **fields})) == [FieldError(f"${path}", message)]


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "registry.example:5000/team/app@sha256:" + "a" * 64},
        {"resources": {"cpus": 0.001, "memory": "6MiB"}},
        {"resources": {"cpus": 4096, "memory": "1024TiB", "gpus": 1024}},
        {"stop": {"grace": "1h"}, "timeout": "1ms"},
        {"array": {"range": "0-99999"}},
        {"array": {"range": "7-7"}},
        {"labels": {"k" * 128: "v" * 256}},
        {"retry": {"not_on_exit": [0, "255", "0-255"]}},
        {"volumes": ["aa:/a:ro", {"type": "tmpfs", "target": "/t"}, {"source": "vv", "target": "/v"}]},
        {"image": "Registry.Example:5000/a__b/c---d.e:Tag_1.x-y"},
        {"image": "localhost/app@sha512:" + "F" * 128},
        {"network": "team_net.2"},
        {"run_at": "1999-12-31T23:59:59-12:00"},
    ],
)
def test_what_lies_just_inside_the_limits_can_run(fields):
    assert check(convert_spec({"image": "alpine", **fields})) == []


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_has_no_utc_form_is_refused(moment):
    assert [error.path for error in check(convert_spec({"image": "alpine", "run_at": moment}))] == ["$.run_at"]


def test_all_problems_are_named_at_once():
    spec = convert_spec({"image": "!", "timeout": 0, "volumes": ["x", "yy:/y", "z"]})
    assert [error.path for error in check(spec)] == ["$.image", "$.timeout", "$.volumes[0]", "$.volumes[2]"]


def test_a_spec_error_reads_as_one_sentence_per_problem():
    error = SpecError([FieldError("$.image", "is missing"), FieldError("$.timeout", "must be more than 0")])
    assert str(error) == "$.image: is missing; $.timeout: must be more than 0"
    assert (error.status, error.retryable) == (422, False)


@pytest.mark.parametrize(
    ("secrets", "path"),
    [
        (["a/b"], ".secrets[0]"),
        (["a", "b", "a"], ".secrets[2]"),
        ([{"name": "a", "env": "1X"}], ".secrets[0].env"),
        ([{"name": "a", "env": "SWARMSYNC_JOB_ID"}], ".secrets[0].env"),
        ([{"name": "a", "env": "X"}, {"name": "b", "env": "X"}], ".secrets[1].env"),
        ([{"name": "a", "env": "MODE"}], ".secrets[0].env"),
        ([f"s{number}" for number in range(33)], ".secrets"),
    ],
)
def test_secrets_that_cannot_be_meant_so_are_refused(secrets, path):
    spec = convert_spec({"image": "a", "environment": {"MODE": "full"}, "secrets": secrets})
    assert [error.path for error in check(spec)] == [f"${path}"]


def test_a_secret_may_be_a_file_and_variables():
    uses = ["a", {"name": "a", "env": "A"}, {"name": "a", "env": "B"}]
    assert check(convert_spec({"image": "a", "secrets": uses})) == []
