import pytest
from msgspec import structs

from conf.settings import LocalWorkerSettings
from swarmsync.errors import ConfigError
from swarmsync.model.resources import Need
from swarmsync.protocol.subjects import WORKER_NAME
from worker import capacity
from worker.capacity import MEMORY_SHARE, default_name, machine_id, offer_of
from worker.container_runtime import RuntimeInfo

GIB = 1 << 30
INFO = RuntimeInfo("29.0", 8_000, 16 * GIB, 2)


def offered(**settings):
    return offer_of(LocalWorkerSettings(**settings), "docker", INFO, "0.1.0")


def test_a_machine_offers_what_was_detected_and_keeps_some_memory_back():
    offer = offered(name="w1")
    assert (offer.capacity.cpus_milli, offer.capacity.gpus) == (8_000, 2)
    assert offer.capacity.memory_bytes == int(16 * GIB * MEMORY_SHARE)
    assert (offer.name, offer.runtime, offer.version) == ("w1", "docker", "0.1.0")


def test_settings_replace_what_was_detected():
    offer = offered(cpus=2.5, memory="3GiB")
    assert offer.capacity == Need(2_500, 3 * GIB, 2, offer.capacity.disk_bytes)


def test_gpus_may_be_named_and_their_model_is_a_label():
    assert offered(gpus=0).capacity.gpus == 0
    assert offered(gpus=5).capacity.gpus == 5
    info = structs.replace(INFO, gpu_model="a100")
    assert offer_of(LocalWorkerSettings(), "docker", info, "0.1.0").labels["gpu.model"] == "a100"
    own = LocalWorkerSettings(labels={"gpu.model": "other"})
    assert offer_of(own, "docker", info, "0.1.0").labels["gpu.model"] == "other"
    assert "gpu.model" not in offered().labels


def test_what_is_reserved_is_kept_back_of_what_was_detected():
    offer = offered(reserve_cpus=1.5, reserve_memory="2GiB")
    assert (offer.capacity.cpus_milli, offer.capacity.memory_bytes) == (6_500, 14 * GIB)
    assert offered(cpus=8, reserve_cpus=1.5).capacity.cpus_milli == 8_000
    for much in ({"reserve_cpus": 8}, {"reserve_memory": "16GiB"}):
        with pytest.raises(ConfigError, match=r"leave nothing for jobs: this machine has 8 cpus and 16GiB"):
            offered(**much)


def test_disk_never_keeps_a_job_away():
    assert Need(disk_bytes=1 << 50).fits(offered().capacity)


def test_an_amount_that_cannot_be_read_is_a_config_error_that_names_it():
    with pytest.raises(ConfigError, match=r"worker\.memory: 'much' is not a size"):
        offered(memory="much")


def test_labels_of_the_settings_win_over_those_that_are_known_anyway():
    labels = offered(labels={"zone": "eu", "os": "other"}).labels
    assert labels["zone"] == "eu"
    assert (labels["os"], labels["runtime"]) == ("other", "docker")
    assert labels["arch"]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("box", "box"),
        ("box.example.org", "box-example-org"),
        ("-_box_-", "box"),
        ("käfer", "k-fer"),
        ("x" * 99, "x" * 48),
        ("...", "worker"),
        ("", "worker"),
    ],
)
def test_a_machines_name_becomes_one_token_of_a_subject(monkeypatch, machine, name):
    monkeypatch.setattr(capacity.socket, "gethostname", lambda: machine)
    assert default_name() == name
    assert WORKER_NAME.fullmatch(default_name())
    assert offered().name == name


def test_the_identity_of_a_machine_does_not_change():
    assert machine_id() == machine_id() != ""
