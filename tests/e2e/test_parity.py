"""The same commands with `docker run` and with `consumer run`: same stdout, stderr and `$?`, but for docs/parity.md."""

import re
import shlex
import subprocess

import pytest

from tests.e2e.conftest import CoreProcess

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]

#: Flags that make `docker run` what a job is anyway (docs/parity.md); `-m` of a row wins over this one.
DOCKER_DEFAULTS = ["--init", "-m", "512m", "--memory-swap", "512m", "--cpus", "1", "--pids-limit", "1024",
                   "--security-opt", "no-new-privileges", "--cap-drop", "NET_RAW", "--cap-drop", "MKNOD",
                   "--cap-drop", "AUDIT_WRITE", "--cap-drop", "SETFCAP"]  # fmt: skip
EATER = "x=0123456789abcdef; while :; do x=$x$x; done"
FORKS = "n=0; while [ $n -lt 40 ]; do sleep 5 & n=$((n+1)); done 2>/dev/null; echo done"
CGROUP = "cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}"

SAME = {
    "nothing": (["{image}", "true"], 0),
    "both streams": (["{image}", "sh", "-c", "echo out; echo err >&2; printf 'no end'"], 0),
    "bytes": (["{image}", "sh", "-c", r"printf '\000\377\r\n\n'"], 0),
    "the image's own command": (["{image}"], 0),
    "env": (["-e", "A=b c", "-e", "EMPTY=", "{image}", "sh", "-c", 'echo "[$A] [${EMPTY-unset}] [${B-unset}] $PATH"'], 0),
    "env inherited": (["-e", "PARITY_GIVEN", "{image}", "sh", "-c", "echo $PARITY_GIVEN"], 0),
    "workdir": (["-w", "/tmp", "{image}", "pwd"], 0),
    "workdir that is new": (["-w", "/made/for/it", "{image}", "pwd"], 0),
    "user by number": (["-u", "1000", "{image}", "sh", "-c", "id -u; id -g"], 0),
    "user and group": (["-u", "1000:1001", "{image}", "sh", "-c", "id -u; id -g"], 0),
    "user by name": (["-u", "nobody", "{image}", "sh", "-c", "id -u"], 0),
    "entrypoint": (["--entrypoint", "echo", "{image}", "a", "b c"], 0),
    "entrypoint and dashes": (["--entrypoint", "sh", "{image}", "-c", 'echo "$@"', "x", "--", "-d", "-e"], 0),
    "memory limit": (["-m", "64m", "{image}", "sh", "-c", CGROUP.format(v2="memory.max", v1="memory/memory.limit_in_bytes")], 0),
    "cpu limit": (["--cpus", "0.5", "{image}", "sh", "-c", CGROUP.format(v2="cpu.max", v1="cpu/cpu.cfs_quota_us")], 0),
    "pids limit": (["--pids-limit", "20", "{image}", "sh", "-c", CGROUP.format(v2="pids.max", v1="pids/pids.max")], 0),
    "network none": (["--network", "none", "{image}", "sh", "-c", "cat /proc/net/dev | wc -l"], 0),
    "capabilities": (["{image}", "sh", "-c", "cat /proc/self/status | tr '\\n' ' '| tr '\\t' ' ' | sed 's/.*CapBnd: \\([0-9a-f]*\\).*NoNewPrivs: \\([0-9]\\).*/\\1 \\2/'"], 0),
    **{f"exit {code}": (["{image}", "sh", "-c", f"exit {code}"], code) for code in (0, 1, 3, 42, 125, 126, 127, 255)},
    "not there": (["{image}", "/no/such/program"], 127),
    # Whether the shell also writes "Terminated" depends on what it sees first, with Docker alone as well.
    "a child killed by TERM": (["{image}", "sh", "-c", "{ sleep 5 & kill $!; wait $!; } 2>/dev/null; echo $?"], 0),
    "a signal that it catches": (["{image}", "sh", "-c", "trap 'echo caught; exit 5' USR1; kill -USR1 $$; sleep 5"], 5),
}  # fmt: skip
#: Same stdout and `$?`; stderr has one line that says what happened.
SAYS_MORE = {
    "exit 137": (["{image}", "sh", "-c", "exit 137"], 137, "Signal"),
    "exit 143": (["{image}", "sh", "-c", "exit 143"], 143, "Signal"),
    "not there, as process 1": (["{bare}", "{image}", "/no/such/program"], 127, "StartFailed"),
    "not a program, as process 1": (["{bare}", "{image}", "/etc/passwd"], 126, "StartFailed"),
    "out of memory": (["-m", "16m", "{image}", "sh", "-c", f"echo begin; {EATER}"], 137, "OOMKilled"),
    "killed": (["{image}", "sh", "-c", "echo begin; kill -9 $$"], 137, "Signal"),
    "terminated": (["{image}", "sh", "-c", "echo begin; kill -TERM $$; sleep 5"], 143, "Signal"),
}


def with_docker(core: CoreProcess, words: list[str]) -> subprocess.CompletedProcess:
    defaults = DOCKER_DEFAULTS
    if "{bare}" in words:
        words, defaults = [word for word in words if word != "{bare}"], DOCKER_DEFAULTS[1:]
    if "-m" in words:
        defaults = [*defaults, "--memory-swap", words[words.index("-m") + 1]]
    filled = [word.replace("{image}", "swarmsync-demo:latest") for word in words]
    return subprocess.run(
        ["docker", "run", "--rm", *defaults, *filled],
        env=core.environ, capture_output=True, check=False, timeout=60,
    )  # fmt: skip


def with_consumer(core: CoreProcess, words: list[str]) -> subprocess.CompletedProcess:
    filled = [word.replace("{image}", "swarmsync-demo:latest").replace("{bare}", "--no-init") for word in words]
    return core.consumer("run", *filled, text=False)


@pytest.fixture(autouse=True)
def given(docker_core):
    docker_core.environ["PARITY_GIVEN"] = "from outside"


@pytest.mark.parametrize("case", SAME)
def test_the_same(docker_core, image, case):
    words, code = SAME[case]
    theirs, ours = with_docker(docker_core, words), with_consumer(docker_core, words)
    assert theirs.returncode == code, theirs.stderr
    assert (ours.stdout, _pidless(ours.stderr), ours.returncode) == (theirs.stdout, _pidless(theirs.stderr), code)


def _pidless(text: bytes) -> bytes:
    """The init program says which process it is."""
    return re.sub(rb"tini \(\d+\)", b"tini", text)


@pytest.mark.parametrize("case", SAYS_MORE)
def test_the_same_but_for_a_line_on_stderr(docker_core, image, case):
    words, code, said = SAYS_MORE[case]
    theirs, ours = with_docker(docker_core, words), with_consumer(docker_core, words)
    assert (ours.stdout, ours.returncode, theirs.returncode) == (theirs.stdout, code, code), ours.stderr
    assert re.search(said.encode(), ours.stderr)
    assert len(ours.stderr.splitlines()) <= 2, ours.stderr


def test_tmpfs(docker_core, image, tmp_path):
    """`docker run` has a flag for it; a job has a volume in its spec."""
    script = "echo x > /scratch/file && cat /scratch/file && cat /proc/mounts | sed -n 's,^tmpfs /scratch tmpfs .*size=\\([0-9]*k\\).*,\\1,p'"
    theirs = with_docker(docker_core, ["--tmpfs", "/scratch:size=8m", "{image}", "sh", "-c", script])
    file = tmp_path / "job.yaml"
    file.write_text(
        f"image: {image}\ncommand: [sh, -c, {script!r}]\nvolumes: [{{type: tmpfs, target: /scratch, size: 8MiB}}]\n"
    )
    job = docker_core.consumer("job", "create", "-f", str(file)).stdout.strip()
    assert docker_core.consumer("job", "wait", "--exit-code", job).returncode == theirs.returncode == 0
    assert docker_core.consumer("job", "logs", job, text=False).stdout == theirs.stdout


def test_forks_beyond_the_pids_limit_fail(docker_core, image):
    words = ["--pids-limit", "20", "{image}", "sh", "-c", FORKS]
    theirs, ours = with_docker(docker_core, words), with_consumer(docker_core, words)
    assert (ours.returncode == 0, ours.stdout) == (theirs.returncode == 0, theirs.stdout)


def test_a_volume_keeps_what_the_first_wrote(docker_core, image):
    name = f"parity-{docker_core.port}"
    try:
        assert (
            with_consumer(docker_core, ["-v", f"{name}:/kept", "{image}", "sh", "-c", "echo ours > /kept/a"]).returncode
            == 0
        )
        read = ["-v", f"{name}:/kept:ro", "{image}", "sh", "-c", "cat /kept/a; echo x > /kept/b || echo read-only"]
        theirs, ours = with_docker(docker_core, read), with_consumer(docker_core, read)
        assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)
        assert b"ours\nread-only\n" in ours.stdout
    finally:
        subprocess.run(["docker", "volume", "rm", "-f", name], check=False, capture_output=True)


#: What a container can tell of how it was made.
TELLS = "pwd; id -u; id -g; echo [$A][$B][$MODE]; cat /proc/net/dev | wc -l; sed -n 's,^[^ ]* \\(/[tvc][^ ]*\\) \\([^ ]*\\) .*,\\1 \\2,p' /proc/mounts; true"
LINES = [
    "docker run -e A=1 -e B='x y' {image}",
    "docker run -eA=1 --env=B= {image}",
    "docker run -v {volume}:/cache {image}",
    "docker run -v {volume}:/cache:ro {image}",
    "docker run --mount type=tmpfs,dst=/t,tmpfs-size=64m {image}",
    "docker run --tmpfs /t:size=1g,noexec {image}",
    "docker run -w /work -u 1000:1000 {image}",
    "docker run --cpus 0.5 -m 64m --memory-swap 64m {image}",
    "docker run --pids-limit 100 --network none {image}",
    "docker run --entrypoint env {image} MODE=full",
    "docker run --stop-signal INT --stop-timeout 30 -l team=ml {image}",
    "podman run --rm \\\n  -e A=1 \\\n  {image}",
]


def test_converted_lines_run_as_the_lines_themselves(docker_core, image):
    """The lines are submitted together and run beside each other; each says what its line says to Docker."""
    volume = f"converted-{docker_core.port}"
    lines = [line.format(image=image, volume=volume) + " sh -c " + shlex.quote(TELLS) for line in LINES]
    try:
        specs = [docker_core.consumer("job", "from-docker", line) for line in lines]
        assert [(spec.returncode, spec.stderr) for spec in specs] == [(0, "")] * len(lines)
        jobs = [docker_core.consumer("job", "create", "-f", "-", input=spec.stdout).stdout.strip() for spec in specs]
        theirs = [with_docker_line(docker_core, line) for line in lines]
        for line, job, said in zip(lines, jobs, theirs, strict=True):
            assert said.returncode == 0, (line, said.stderr)
            assert docker_core.consumer("job", "wait", "--exit-code", job).returncode == 0, line
            assert docker_core.consumer("job", "logs", job, text=False).stdout == said.stdout, line
    finally:
        subprocess.run(["docker", "volume", "rm", "-f", volume], check=False, capture_output=True)


def with_docker_line(core: CoreProcess, line: str) -> subprocess.CompletedProcess:
    typed = re.sub(r"^\w+ run( --rm)?", "docker run --rm --init", line)
    return subprocess.run(["bash", "-c", typed], env=core.environ, capture_output=True, check=False, timeout=60)
