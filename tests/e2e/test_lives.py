"""The lives of jobs beyond one container: what waits for what, arrays that give up, deadlines, holds, runs again."""

import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.e2e]
CONFIG = '[worker]\nruntime = "process"\nname = "lives"\n'


@pytest.fixture(scope="module")
def core(make_module_core):
    core = make_module_core(CONFIG)
    core.ready()
    return core


@pytest.fixture
def client(core):
    client = core.client()
    yield client
    client.close()


def shell(line, **fields):
    return {"image": "process", "command": ["sh", "-c", line], "resources": {"cpus": 0.1, "memory": "16MiB"}, **fields}


def ended(client, job_id):
    job = client.wait(job_id, timeout_s=60)
    return job["state"], job["reason"]


def test_a_diamond_runs_in_order(client, tmp_path):
    trace = tmp_path / "trace"
    specs = [
        shell(f"echo top >> {trace}"),
        shell(f"sleep 0.2; echo left >> {trace}", after=[{"job": "#0"}]),
        shell(f"echo right >> {trace}", after=[{"job": "#0"}]),
        shell(f"echo bottom >> {trace}", after=[{"job": "#1"}, {"job": "#2"}]),
    ]
    ids = client.submit_many(specs)
    assert [ended(client, job_id) for job_id in ids] == [("succeeded", "Completed")] * 4
    assert trace.read_text().split() == ["top", "right", "left", "bottom"]


def test_a_failed_parent_ends_its_child_and_a_cleanup_runs(client):
    parent, child, grandchild, cleanup, alarm = client.submit_many(
        [
            shell("exit 3"),
            shell("true", after=[{"job": "#0"}]),
            shell("true", after=[{"job": "#1"}]),
            shell("true", after=[{"job": "#0", "when": "finished"}]),
            shell("true", after=[{"job": "#0", "when": "failed"}]),
        ]
    )
    assert ended(client, parent) == ("failed", "ExitCode")
    assert ended(client, child) == ended(client, grandchild) == ("cancelled", "DependencyFailed")
    assert parent in client.job(child)["message"]
    assert ended(client, cleanup) == ended(client, alarm) == ("succeeded", "Completed")


def test_a_child_of_a_job_that_had_ended_before_goes_on_at_once(client):
    good, bad = client.submit(shell("true"))["id"], client.submit(shell("exit 1"))["id"]
    ended(client, good)
    ended(client, bad)
    began = time.monotonic()
    late = client.submit(shell("true", after=[{"job": good}]))
    never = client.submit(shell("true", after=[{"job": bad}]))
    assert ended(client, late["id"]) == ("succeeded", "Completed")
    assert ended(client, never["id"]) == ("cancelled", "DependencyFailed")
    assert time.monotonic() - began < 8  # the sweep alone would need 10 s


def test_an_array_with_failing_indexes_and_its_second_try(core, client):
    fails = "[ $((SWARMSYNC_ARRAY_INDEX % 30)) -ne 7 ] || [ -e $TMP/again ]"
    mark = core.directory / "again"
    spec = shell(fails.replace("$TMP", str(core.directory)), array={"range": "0-199"})
    array = client.submit(spec)
    job = client.wait(array["id"], timeout_s=90)
    assert (job["state"], job["message"]) == ("failed", "193 of 200 succeeded, 7 failed")
    mark.touch()
    again = client.rerun(array["id"], failed=True)
    assert again["spec"]["array"]["range"] == "7,37,67,97,127,157,187"
    assert again["rerun_of"] == array["id"]
    job = client.wait(again["id"], timeout_s=60)
    assert (job["state"], job["message"]) == ("succeeded", "7 of 7 succeeded")


def test_an_array_gives_up_after_max_failures(client):
    spec = shell("exit 1", array={"range": "0-99", "max_parallel": 2, "max_failures": 3})
    job = client.wait(client.submit(spec)["id"], timeout_s=60)
    assert job["state"] == "failed"
    members = list(client.jobs({"array": job["id"]}))
    states = [member["state"] for member in members]
    assert 4 <= states.count("failed") <= 6  # two at a time, and what had started when the fourth failed
    assert states.count("failed") + states.count("cancelled") == 100
    assert {member["reason"] for member in members if member["state"] == "cancelled"} == {"CancelledByPolicy"}


def test_a_deadline_ends_what_runs_and_what_waits(client):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    runs = client.submit(shell("sleep 60", deadline=soon))
    waits = client.submit(shell("true", deadline=soon, resources={"cpus": 4096}))
    assert ended(client, runs["id"]) == ("timed_out", "DeadlinePassed")
    assert ended(client, waits["id"]) == ("expired", "DeadlinePassed")


def test_a_held_job_waits_for_its_release(client):
    parent = client.submit(shell("sleep 0.3"))["id"]
    child = client.submit(shell("true", after=[{"job": parent}]))["id"]
    assert client.act(child, "hold")["state"] == "held"
    ended(client, parent)
    assert client.job(child)["state"] == "held"
    client.act(child, "release")
    assert ended(client, child) == ("succeeded", "Completed")


def test_names_in_after_are_read_as_people_write_them(core):
    assert core.consumer("job", "create", "--name", "first", "process", "true").returncode == 0
    made = core.consumer("job", "create", "--after", "@first:finished", "process", "true")
    assert made.returncode == 0, made.stderr
    waited = core.consumer("job", "wait", made.stdout.strip())
    assert waited.returncode == 0, waited.stderr
    wrong = core.consumer("job", "create", "--after", "@nobody", "process", "true")
    assert wrong.returncode == 3, wrong.stderr
