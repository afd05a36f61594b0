"""From a spec to a container: every field arrives, the contract's variables win, terms survive the worker's restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync import ids
from swarmsync.model.job import JobRef
from swarmsync.model.resources import Need
from swarmsync.protocol.codec import convert_spec
from swarmsync.protocol.messages import RunJob
from worker.container_runtime import Mount
from worker.plans import model_of, plan_of, ref_of
from worker.terms import Terms, read_terms, terms_of, write_terms

REF = JobRef(123_456_789, 4)
MIB = 1 << 20
NUMBERS = st.integers(0, 1 << 50)
SMALL = st.integers(0, (1 << 31) - 1)


def order(memory_bytes=0, **more):
    return RunJob(REF, 1, "report", memory_bytes, **more)


def planned(order_=None, **fields):
    spec = convert_spec({"image": "alpine:3.20", **fields})
    order_ = order_ or order()
    return plan_of(model_of(spec, terms_of(spec, order_), worker="w1", session="s1"), order_)


def test_everything_the_spec_says_reaches_the_container():
    plan = planned(
        entrypoint=["sh", "-c"], command="echo hi", working_dir="/work", user="1000", init=False, network="none",
        resources={"cpus": 0.5, "memory": "256MiB", "pids": 99, "gpus": 1, "disk": "1GiB"},
        stop={"signal": "SIGINT", "grace": "2500ms"},
    )  # fmt: skip
    assert (plan.image, plan.entrypoint, plan.command) == ("alpine:3.20", ("sh", "-c"), ("echo", "hi"))
    assert (plan.working_dir, plan.user, plan.init, plan.network) == ("/work", "1000", False, "none")
    assert (plan.cpus_milli, plan.memory_bytes, plan.pids_max, plan.gpus, plan.disk_bytes) == (
        500,
        256 * MIB,
        99,
        1,
        1 << 30,
    )
    assert (plan.stop_signal, plan.stop_grace_s) == ("SIGINT", 2.5)


def test_what_the_spec_leaves_out_is_the_images_business():
    plan = planned()
    assert (plan.entrypoint, plan.command, plan.working_dir, plan.user, plan.disk_bytes) == (
        None,
        None,
        None,
        None,
        None,
    )
    assert plan.init
    assert planned(command=[]).command == ()


def test_names_and_labels_say_which_attempt_of_which_job_it_is():
    plan = planned()
    job = ids.encode(REF.job_id)
    assert (plan.job, plan.attempt, plan.fence, plan.session) == (job, 4, 4, "s1")
    assert plan.name == f"swarmsync-{job}-4"
    assert ref_of(plan.job, plan.fence) == REF
    assert ref_of("somebody-elses", 1) is None


def test_the_contracts_variables_win_over_the_specs():
    plan = planned(environment={"A": "1", "SWARMSYNC_JOB_ID": "forged", "SWARMSYNC_WORKER": "forged"})
    assert plan.environment == {
        "A": "1",
        "SWARMSYNC_JOB_ID": ids.encode(REF.job_id),
        "SWARMSYNC_JOB_NAME": "report",
        "SWARMSYNC_ATTEMPT": "4",
        "SWARMSYNC_FENCE": "4",
        "SWARMSYNC_WORKER": "w1",
    }


def test_a_member_of_an_array_knows_its_place():
    environment = planned(order(array_index=0, array_size=7)).environment
    assert (environment["SWARMSYNC_ARRAY_INDEX"], environment["SWARMSYNC_ARRAY_SIZE"]) == ("0", "7")


def test_volumes_become_mounts():
    volumes = ["cache:/cache:ro", {"type": "tmpfs", "target": "/tmp", "size": "64MiB"}, {"source": "v", "target": "/v"}]
    assert planned(volumes=volumes).mounts == (
        Mount("volume", "cache", "/cache", read_only=True),
        Mount("tmpfs", "", "/tmp", size_bytes=64 * MIB),
        Mount("volume", "v", "/v"),
    )


@pytest.mark.parametrize(("ordered", "given_bytes"), [(0, 512 * MIB), (256 * MIB, 512 * MIB), (700 * MIB, 700 * MIB)])
def test_memory_grows_with_the_order_and_never_shrinks_below_the_spec(ordered, given_bytes):
    plan = planned(order(memory_bytes=ordered))
    assert plan.memory_bytes == given_bytes
    assert read_terms(plan.note).need.memory_bytes == given_bytes


def test_terms_are_what_a_later_agent_must_know():
    spec = convert_spec({
        "image": "a", "timeout": "2h", "stop": {"signal": "SIGINT", "grace": "3s"}, "logs": {"max": "1MiB", "on_limit": "fail"},
    })  # fmt: skip
    assert terms_of(spec, order()) == Terms(Need(), 3_000, "SIGINT", 7_200_000, MIB, log_fail=True)
    assert terms_of(convert_spec({"image": "a"}), order()) == Terms(Need())


@given(
    st.builds(
        Terms, st.builds(Need, SMALL, NUMBERS, SMALL, NUMBERS), NUMBERS, st.text(max_size=10), st.none() | NUMBERS,
        NUMBERS, st.booleans(),
    )
)  # fmt: skip
def test_terms_survive_the_note_on_the_container(terms):
    assert read_terms(write_terms(terms)) == terms


@pytest.mark.parametrize("note", ["", "{", "null", "[]", "{}", '{"need": "x"}', "\x00"])
def test_a_note_that_cannot_be_read_gets_careful_terms(note):
    assert read_terms(note) == Terms(Need())


def test_a_note_of_a_newer_version_is_read_as_far_as_it_is_known():
    assert read_terms('{"need":[1,2,3,4],"grace_ms":5,"of_tomorrow":1}') == Terms(Need(1, 2, 3, 4), grace_ms=5)
