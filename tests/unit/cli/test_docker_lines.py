import json

import msgspec
import pytest
import yaml
from docker_run_lines import LINES

from cli.compose_files import convert as convert_compose
from cli.docker_lines import convert
from cli.docker_values import DROPPED, KEPT
from swarmsync.errors import NotFound, RequestError
from swarmsync.model.fields import dec_hook
from swarmsync.model.spec import JobSpec, check
from worker.docker_config import CAPABILITIES_DROPPED

ENVIRON = {"HOME_NOW": "/home/ann"}
FILES = {"vars": "# for all\n A=1\nB=from file\n\n"}


def converted(line):
    return convert(line, ENVIRON, FILES.__getitem__)


def test_there_are_sixty_lines_at_least():
    assert len({line for line, _, _ in LINES}) >= 60


@pytest.mark.parametrize(("line", "spec", "refused"), LINES, ids=[line[:70] for line, _, _ in LINES])
def test_a_line_becomes_a_spec_and_names_what_it_cannot_honour(line, spec, refused):
    found = converted(line)
    assert (found.spec, [part for part, _ in found.refused]) == (spec, refused)
    assert all(reason for _, reason in found.refused)
    assert check(msgspec.convert(found.spec, JobSpec, dec_hook=dec_hook)) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "does not begin with docker run"),
        ("docker ps", "does not begin with docker run"),
        ("docker run", "names no image"),
        ("docker run -e", "the flag -e has no value"),
        ("docker run --memory", "the flag --memory has no value"),
        ("docker run --memroy 1g alpine", "did you mean --memory?"),
        ("docker run -x alpine", "no flag -x"),
        ("docker run 'alpine", "as a shell would"),
    ],
)
def test_what_is_no_docker_run_line_is_refused(line, sentence):
    with pytest.raises(RequestError, match=sentence.replace("?", r"\?")):
        converted(line)


def test_the_capabilities_are_those_of_the_worker():
    assert set(CAPABILITIES_DROPPED) == DROPPED
    assert (len(DROPPED | KEPT), DROPPED & KEPT) == (14, set())  # Docker gives a container 14


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--cap-drop ALL", "security.profile: strict"),
        ("--cap-drop ALL --read-only --user root", "give --read-only and --user"),
        ("--cap-drop ALL --cap-add KILL --cap-add SYS_PTRACE", "does not go with capabilities"),
        ("--cap-drop CHOWN", "dropped together"),
        ("--cap-add net-admin", "no capability"),
        ("--device /dev/a:/dev/b", "its own path"),
        ("--device nvidia.com/gpu=all", "--gpus 1"),
        ("--device /srv/file", "below /dev"),
        ("--privileged", "security.privileged: true"),
        ("-v /srv/data:/data", "needs an administrator's policy"),
        ("--network 'host'", "needs an administrator's policy"),
    ],
)
def test_a_reason_is_true(line, reason):
    ((_, told),) = converted(f"docker run {line} alpine").refused
    assert reason in told


def test_what_the_strict_profile_does_becomes_the_strict_profile():
    found = converted("docker run --cap-drop ALL --read-only -u 1000 --security-opt no-new-privileges alpine")
    assert found.spec == {"image": "alpine", "user": "1000", "security": {"profile": "strict"}}
    assert found.refused == []


def test_a_service_with_what_a_job_may_have_of_the_machine():
    service = {
        "image": "a",
        "read_only": True,
        "cap_add": ["SYS_PTRACE", "CHOWN"],
        "cap_drop": ["NET_RAW", "ALL"],
        "devices": ["/dev/fuse:/dev/fuse", "/dev/a:/dev/b"],
        "security_opt": ["no-new-privileges:true", "seccomp=unconfined"],
        "privileged": True,
    }
    found = convert_compose({"services": {"a": service}}, "a", {}, FILES.__getitem__)
    security = {"read_only": True, "capabilities": ["SYS_PTRACE"], "devices": ["/dev/fuse"]}
    assert found.spec == {"name": "a", "image": "a", "security": security}
    refused = ["devices: /dev/a:/dev/b", "security_opt: seccomp=unconfined", "privileged", "cap_drop: ALL"]
    assert [part for part, _ in found.refused] == refused
    assert check(msgspec.convert(found.spec, JobSpec, dec_hook=dec_hook)) == []


def test_the_command_prints_yaml_and_names_flags(consumer, capsys):
    assert consumer("job", "from-docker", "docker run -e A=1 alpine date") == 0
    out, err = capsys.readouterr()
    assert (yaml.safe_load(out), err) == ({"image": "alpine", "command": ["date"], "environment": {"A": "1"}}, "")
    assert consumer("job", "from-docker", "-o", "json", "docker", "run", "-p", "80:80", "alpine", "ls", "-l") == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"image": "alpine", "command": ["ls", "-l"]}
    assert err == "swarmsync: cannot honour -p 80:80: jobs publish no ports\n"
    assert consumer("job", "from-docker", "docker run") == 2
    assert consumer("job", "from-docker", "docker run --env-file /no/such/file alpine") == 2


COMPOSE = """
name: shop
services:
  report:
    image: registry.example/report:${TAG:-latest}
    container_name: nightly
    command: make report
    entrypoint: ["sh", "-c"]
    environment: {MODE: full, DEBUG: true, EMPTY: }
    env_file: [vars]
    volumes:
      - cache:/cache:ro
      - ./src:/src
      - {type: tmpfs, target: /t, tmpfs: {size: 67108864}}
      - {type: volume, source: data, target: /data}
    tmpfs: /run:size=8m
    working_dir: /work
    user: "1000"
    labels: ["team=ml"]
    stop_signal: SIGINT
    stop_grace_period: 30s
    restart: on-failure:2
    init: true
    networks: [backend]
    secrets: [db-password]
    deploy: {resources: {limits: {cpus: "0.5", memory: 256M, pids: 64}}, replicas: 2}
    ports: ["80:80"]
    depends_on: [db]
    privileged: false
    x-ours: anything
  list: {image: a, environment: ["A=1", "B"], command: ["echo", "$$HOME", "${NEEDED:?say it}"], mem_limit: 1g, cpus: 2}
  broken: {image: a, environment: 7}
  built: {build: .}
volumes:
  cache: {name: big-cache}
  data:
"""


def service(name, **environ):
    return convert_compose(yaml.safe_load(COMPOSE), name, environ, FILES.__getitem__)


def test_a_service_becomes_a_spec():
    found = service("report", TAG="7")
    assert found.spec == {
        "name": "nightly",
        "image": "registry.example/report:7",
        "command": "make report",
        "entrypoint": ["sh", "-c"],
        "environment": {"A": "1", "B": "from file", "MODE": "full", "DEBUG": "true", "EMPTY": ""},
        "volumes": [
            "big-cache:/cache:ro",
            {"type": "tmpfs", "target": "/t", "size": "64MiB"},
            "data:/data",
            {"type": "tmpfs", "target": "/run", "size": "8MiB"},
        ],
        "working_dir": "/work",
        "user": "1000",
        "labels": {"team": "ml"},
        "stop": {"signal": "SIGINT", "grace": "30s"},
        "retry": {"attempts": 3},
        "init": True,
        "network": "backend",
        "secrets": ["db-password"],
        "resources": {"cpus": 0.5, "memory": "256MiB", "pids": 64},
    }
    assert [part for part, _ in found.refused] == ["volumes: ./src:/src", "deploy.replicas", "ports", "depends_on"]
    assert check(msgspec.convert(found.spec, JobSpec, dec_hook=dec_hook)) == []


def test_variables_are_put_in_as_compose_does():
    assert service("report").spec["image"].endswith(":latest")
    assert service("list", NEEDED="x").spec["command"] == ["echo", "$HOME", "x"]
    assert service("list", NEEDED="x").spec["resources"] == {"memory": "1GiB", "cpus": 2.0}
    with pytest.raises(RequestError, match="NEEDED is not set: say it"):
        service("list")


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("reprot", NotFound, "there are report, list, broken, built"),
        ("broken", RequestError, "services.broken.environment"),
        ("built", RequestError, "has no image"),
    ],
)
def test_a_service_that_cannot_be_read(name, kind, sentence):
    with pytest.raises(kind, match=sentence):
        service(name)


def test_the_compose_command(consumer, capsys, tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: 'x:${TAG}', env_file: vars, ports: ['1:1']}}")
    (tmp_path / ".env").write_text("TAG='9'\n")
    (tmp_path / "vars").write_text("A=1\n")
    assert consumer("job", "from-compose", str(file), "a") == 1
    out, err = capsys.readouterr()
    assert yaml.safe_load(out) == {"name": "a", "image": "x:9", "environment": {"A": "1"}}
    assert err == "swarmsync: cannot honour ports: jobs publish no ports\n"
    assert consumer("job", "from-compose", str(file), "b") == 3
    for text in ("[", "[" * 100_000, f"a: {'9' * 5000}", "a: !!timestamp b"):
        file.write_text(text)
        assert consumer("job", "from-compose", str(file), "a") == 2
    assert consumer("job", "from-compose", str(tmp_path / "none"), "a") == 2
