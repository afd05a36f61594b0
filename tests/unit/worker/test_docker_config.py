import base64
import json

import pytest
from msgspec.structs import replace

from swarmsync.model.fields import Size
from swarmsync.model.policy import Allowance
from worker import docker_config
from worker.container_runtime import ContainerPlan, Exit, Mount, RegistryAuth, SecretFile, Seen
from worker.docker_engine import encode_body
from worker.docker_info import describe

PLAN = ContainerPlan(
    job="0abc",
    attempt=2,
    fence=9,
    session="s1",
    image="alpine:3.20",
    entrypoint=("sh", "-c"),
    command=("make",),
    environment={"A": "1", "B": "x=y"},
    working_dir="/work",
    user="1000",
    init=True,
    mounts=(),
    network="none",
    cpus_milli=1500,
    memory_bytes=256 << 20,
    pids_max=512,
    gpus=0,
    disk_bytes=None,
    stop_signal="SIGINT",
    stop_grace_s=2.5,
)


def test_the_whole_body():
    assert docker_config.create_body(PLAN) == {
        "Image": "alpine:3.20",
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["make"],
        "Env": ["A=1", "B=x=y"],
        "WorkingDir": "/work",
        "User": "1000",
        "StopSignal": "SIGINT",
        "StopTimeout": 3,
        "Labels": {
            "swarmsync.job": "0abc",
            "swarmsync.attempt": "2",
            "swarmsync.fence": "9",
            "swarmsync.session": "s1",
        },
        "HostConfig": {
            "NanoCpus": 1_500_000_000,
            "Memory": 256 << 20,
            "MemorySwap": 256 << 20,
            "PidsLimit": 512,
            "NetworkMode": "none",
            "Init": True,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": dict(docker_config.LOG_CONFIG),
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP"],
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "Mounts": [],
        },
    }


def test_less_than_a_hundredth_of_a_cpu_has_a_longer_period():
    limits = [docker_config.create_body(replace(PLAN, cpus_milli=milli))["HostConfig"] for milli in (1, 9, 10)]
    assert [(one.get("NanoCpus"), one.get("CpuQuota"), one.get("CpuPeriod")) for one in limits] == [
        (None, 1_000, 1_000_000),
        (None, 9_000, 1_000_000),
        (10_000_000, None, None),
    ]


def test_what_the_plan_leaves_open_is_the_image_s():
    body = docker_config.create_body(replace(PLAN, entrypoint=None, command=None, working_dir=None, user=None))
    assert not {"Entrypoint", "Cmd", "WorkingDir", "User"} & body.keys()


def test_owner_and_note_are_labels():
    labels = docker_config.create_body(replace(PLAN, note="n"), owner="me")["Labels"]
    assert (labels["swarmsync.owner"], labels["swarmsync.note"]) == ("me", "n")


def test_mounts_gpus_and_disk():
    mounts = (
        Mount("volume", "cache", "/cache", read_only=True),
        Mount("tmpfs", "", "/tmp", size_bytes=1024),
        Mount("bind", "/data", "/data"),
    )
    private = {"Propagation": "rprivate"}
    limits = docker_config.create_body(replace(PLAN, mounts=mounts, gpus=2, disk_bytes=5), secrets_path="/mem/x")[
        "HostConfig"
    ]
    assert limits["Mounts"] == [
        {"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": True},
        {"Type": "tmpfs", "Target": "/tmp", "ReadOnly": False, "TmpfsOptions": {"Mode": 0o1777, "SizeBytes": 1024}},
        {"Type": "bind", "Source": "/data", "Target": "/data", "ReadOnly": False, "BindOptions": private},
        {"Type": "bind", "Source": "/mem/x", "Target": "/run/secrets", "ReadOnly": True, "BindOptions": private},
    ]
    assert limits["DeviceRequests"] == [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]
    assert limits["StorageOpt"] == {"size": "5"}


def test_the_engine_is_sent_a_size_of_a_spec_as_a_number():
    plan = replace(PLAN, mounts=(Mount("tmpfs", "", "/t", size_bytes=Size(8 << 20)),))
    sent = json.loads(encode_body(docker_config.create_body(plan)))
    assert [mount.get("TmpfsOptions", {}).get("SizeBytes") for mount in sent["HostConfig"]["Mounts"]] == [8 << 20]


def test_a_secret_is_a_variable_only_where_it_asks_to_be():
    secrets = (SecretFile("a", b"one", env="A_KEY"), SecretFile("b", b"canary"))
    body = docker_config.create_body(replace(PLAN, secrets=secrets))
    assert body["Env"][-1] == "A_KEY=one"
    assert "canary" not in json.dumps(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "host"},
        {"network": "container:abc"},
        {"network": ""},
        {"network": "ns:/proc/1/ns/net"},
        {"mounts": (Mount("bind", "/etc", "/x"),)},
        {"mounts": (Mount("bind", "/opened/../etc", "/x"),)},
        {"mounts": (Mount("bind", "/opened-not", "/x"),)},
        {"mounts": (Mount("bind", "opened/x", "/x"),)},
        {"mounts": (Mount("volume", "../etc", "/x"),)},
        {"mounts": (Mount("tmpfs", "", "/"),)},
        {"mounts": (Mount("tmpfs", "", "/x/.."),)},
        {"mounts": (Mount("tmpfs", "", "x"),)},
        {"secrets": (SecretFile("../x", b""),)},
        {"secrets": (SecretFile("x", b"\xff", env="X"),)},
        {"secrets": (SecretFile("x", b"a\0b", env="X"),)},
        {"privileged": True},
        {"capabilities": ("SYS_ADMIN",)},
        {"devices": ("/dev/sda",)},
    ],
)
def test_refused(changes):
    """Whatever Core's policies say: this is the worker's own word."""
    allowed = Allowance(paths=("/opened",), capabilities=("CAP_SYS_PTRACE",), devices=("/dev/fuse",))
    assert docker_config.refusal(replace(PLAN, **changes), allowed)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network": "bridge"},
        {"network": "team_net.1"},
        {"mounts": (Mount("bind", "/opened", "/x"), Mount("bind", "/opened/deep/er", "/y"))},
        {"mounts": (Mount("volume", "", "/anonymous"), Mount("volume", "named", "/named"))},
        {"secrets": (SecretFile("x", b"\xff"), SecretFile("y", "ä".encode(), env="Y"))},
        {"privileged": True, "capabilities": ("SYS_PTRACE",), "devices": ("/dev/fuse",), "network": "host"},
    ],
)
def test_allowed(changes):
    allowed = Allowance(("/opened/",), ("CAP_SYS_PTRACE",), ("/dev/fuse",), machine_network=True, privileged=True)
    assert docker_config.refusal(replace(PLAN, **changes), allowed) is None


def test_the_strict_profile_takes_everything_that_can_be_taken():
    body = docker_config.create_body(replace(PLAN, strict=True, read_only_root=True, user=None))
    limits = body["HostConfig"]
    assert (limits["CapDrop"], limits["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert (limits["ReadonlyRootfs"], body["User"]) == (True, "65534:65534")
    (tmp,) = [mount for mount in limits["Mounts"] if mount["Target"] == "/tmp"]
    assert (tmp["Type"], tmp["TmpfsOptions"]["SizeBytes"]) == ("tmpfs", 64 << 20)
    assert docker_config.create_body(replace(PLAN, strict=True, user="1000"))["User"] == "1000"


def test_what_was_allowed_is_given_and_no_more():
    limits = docker_config.create_body(replace(PLAN, capabilities=("SYS_PTRACE",), devices=("/dev/fuse",)))[
        "HostConfig"
    ]
    assert limits["CapAdd"] == ["SYS_PTRACE"]
    assert [device["PathOnHost"] for device in limits["Devices"]] == ["/dev/fuse"]
    assert "no-new-privileges" in limits["SecurityOpt"]
    assert not limits.get("Privileged")


@pytest.mark.parametrize(
    ("image", "query"),
    [
        ("alpine", {"fromImage": "alpine", "tag": "latest"}),
        ("alpine:3.20", {"fromImage": "alpine", "tag": "3.20"}),
        ("registry.test:5000/a/b", {"fromImage": "registry.test:5000/a/b", "tag": "latest"}),
        ("registry.test:5000/a/b:1", {"fromImage": "registry.test:5000/a/b", "tag": "1"}),
        ("a/b@sha256:00ff", {"fromImage": "a/b@sha256:00ff"}),
        ("a/b:1@sha256:00ff", {"fromImage": "a/b@sha256:00ff"}),
    ],
)
def test_a_pull_asks_for_one_tag(image, query):
    assert docker_config.pull_query(image) == query
    assert docker_config.image_path(image) == image


@pytest.mark.parametrize("image", ["", "a b", "/a", "a//b", "a/../b", "../a", "a?b", "a#b", "a%2fb", "ä"])
def test_what_is_no_image_name(image):
    assert docker_config.image_path(image) is None


def test_credentials_travel_as_docker_wants_them():
    header = docker_config.auth_header(RegistryAuth("u", "p"))["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.51", "1.24", "1.45"), ("1.52", "1.46", "1.46"), ("1.41", "", "1.41")],
)
def test_api_version(newest, oldest, spoken):
    assert docker_config.api_version(newest, oldest) == spoken


def state(**changes):
    return {
        "Status": "exited",
        "ExitCode": 3,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-11-23T21:00:00.5Z",
        "FinishedAt": "2026-11-23T21:00:01.123456789Z",
    } | changes


def test_an_inspected_exit():
    end = docker_config.exit_of(state(OOMKilled=True))
    assert (end.exit_code, end.oom_killed, end.removed) == (3, True, False)
    assert end.finished_at - end.started_at == pytest.approx(0.623456)


def test_an_end_is_never_before_its_start():
    end = docker_config.exit_of(state(StartedAt="2026-11-23T21:00:02Z"))
    assert end.finished_at == end.started_at


def test_never_is_no_time():
    end = docker_config.exit_of(state(StartedAt="0001-01-01T00:00:00Z", FinishedAt="0001-01-01T00:00:00Z"))
    assert (end.started_at, end.finished_at) == (None, None)


def test_a_container_that_is_being_removed_has_not_exited():
    for status in ("removing", "dead"):
        assert docker_config.exit_of(state(Status=status)).removed
        assert docker_config.seen_of(status) is Seen.ABSENT
    assert [docker_config.seen_of(each) for each in ("created", "running", "paused", "exited")] == [
        Seen.CREATED,
        Seen.RUNNING,
        Seen.RUNNING,
        Seen.EXITED,
    ]


def test_labels_of_others_are_left_alone():
    labels = docker_config.create_body(PLAN)["Labels"]
    mine = docker_config.observed_of("c", labels, Seen.EXITED, Exit(3, False, 1.0, 2.0, "why"))
    assert (mine.job, mine.attempt, mine.fence, mine.session) == ("0abc", 2, 9, "s1")
    assert (mine.exit_code, mine.finished_at, mine.error) == (3, 2.0, "why")
    for forged in ({}, labels | {"swarmsync.fence": "x"}, {"swarmsync.job": "a"}):
        assert docker_config.observed_of("c", forged, Seen.EXITED, Exit(0)) is None


def test_the_machine_and_its_warnings():
    info = {"NCPU": 2, "MemTotal": 1 << 30, "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
    described = describe({"Version": "20.10.24"}, info, unlimited=False, secrets_in_memory=False)
    assert (described.version, described.cpus_milli) == ("20.10.24", 2000)
    assert (described.memory_bytes, described.gpus) == (1 << 30, 0)
    assert [warning.split()[0] for warning in described.warnings] == ["Docker's", "this", "the", "this"]
    info |= {"LiveRestoreEnabled": True, "DriverStatus": [["Backing Filesystem", "xfs"]], "Warnings": None}
    assert describe({"Version": "28"}, info, unlimited=True, secrets_in_memory=True).warnings == ()
