"""A `docker run` line as a job's spec. What a job cannot do is named, flag by flag. Pure.

A flag is honoured when the job's container gets the same, or when it says what is so for every job anyway.
"""

import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct

from cli.docker_values import (
    PRIVILEGED,
    Refused,
    cap_add,
    cap_drop,
    device,
    environment,
    gpus,
    label,
    mount,
    network,
    read_only,
    restart,
    security_opt,
    settle_drop,
    size,
    tmpfs,
    volume,
)
from swarmsync.errors import RequestError
from swarmsync.model.resources import format_size

Spec = dict[str, Any]
Take = Callable[[Spec, str], None]
_PROGRAMS: Final = ("docker", "podman", "nerdctl")

#: Short forms that take no value and may be joined: -dit.
_SHORT_SWITCHES: Final = {"d": "--detach", "i": "--interactive", "t": "--tty", "P": "--publish-all", "q": "--quiet"}
_SHORT: Final = {
    "e": "--env", "v": "--volume", "w": "--workdir", "u": "--user", "m": "--memory", "l": "--label", "p": "--publish",
    "h": "--hostname", "c": "--cpu-shares", "a": "--attach",
}  # fmt: skip
_SAME: Final = {"--net": "--network", "--dns-option": "--dns-opt", "--net-alias": "--network-alias"}
#: Switches that say what holds for every job: it is not attached, and its container is removed.
_ALWAYS: Final = frozenset({"--detach", "--rm", "--quiet", "--sig-proxy", "--init"})
_READ_ONLY: Final = "--read-only"
#: Switches and flags with a value that no job has, each with the reason.
_NO_SWITCH: Final = {
    "--interactive": "a job has no stdin",
    "--tty": "a job has no terminal",
    "--privileged": PRIVILEGED,
    "--publish-all": "jobs publish no ports",
    "--oom-kill-disable": "a job is killed at its limit of memory",
    "--no-healthcheck": "health checks are not switched off",
    "--disable-content-trust": "images are taken as the worker's Docker takes them",
    "--use-api-socket": "jobs have no access to Docker",
}
_REASONS: Final = {
    "jobs publish no ports": "publish expose",
    "output is kept, not attached": "attach detach-keys",
    "a container's own name is Docker's": "hostname domainname",
    "a job sees no other container; name a volume in both": "volumes-from",
    "named volumes are of the worker's usual kind": "volume-driver",
    "a job gets devices by their paths: --device": "device-cgroup-rule",
    "an image runs on the worker's own platform and runtime": "platform runtime",
    "a job has an id; it is what create prints": "cidfile",
    "a job sees no other container": "link",
    "names are found as the network of the job finds them": "add-host",
    "give the labels themselves": "label-file",
    "there is no such limit for a job": """
        cpu-shares cpuset-cpus cpuset-mems cpu-rt-period cpu-rt-runtime cpu-count cpu-percent memory-reservation
        memory-swappiness kernel-memory blkio-weight blkio-weight-device device-read-bps device-read-iops
        device-write-bps device-write-iops shm-size ulimit oom-score-adj io-maxbandwidth io-maxiops
    """,
    "the network of a job is none, bridge or a named one, without settings of its own": """
        dns dns-opt dns-search ip ip6 link-local-ip mac-address network-alias
    """,
    "a job's container shares nothing with the worker's machine": """
        pid ipc uts userns cgroupns cgroup-parent isolation sysctl
    """,
    "a job's log is SwarmSync's; see logs in the spec": "log-driver log-opt",
    "a job is healthy while it runs": """
        health-cmd health-interval health-retries health-start-interval health-start-period health-timeout
    """,
    "there is no such setting for a job": "group-add annotation",
}
_NO_VALUE: Final = {f"--{flag}": reason for reason, flags in _REASONS.items() for flag in flags.split()}


class Converted(Struct):
    """The spec, and each part of the line that it does not honour, as it was written, with the reason."""

    spec: Spec
    refused: list[tuple[str, str]]


def convert(line: str | Sequence[str], environ: Mapping[str, str], read: Callable[[str], str]) -> Converted:
    """Read a `docker run` line. `environ` and `read` (of a file) are the caller's, as they would be Docker's.

    Raises RequestError for what is no such line at all.
    """
    words = _words(line)
    found = Converted({}, [])
    takes = _takes(environ)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        for flag, value, written in _flags(word, words, takes):
            _take(found, takes, flag, value, written, read)
    if not words:
        raise RequestError("the line names no image")
    found.spec = {"image": words[0], **({"command": words[1:]} if len(words) > 1 else {}), **found.spec}
    period, quota = found.spec.pop("cpu_period", 100_000), found.spec.pop("cpu_quota", None)
    if quota:
        found.spec.setdefault("resources", {}).setdefault("cpus", quota / period)
    _check_swap(found)
    if reason := settle_drop(found.spec):
        found.refused.append(("--cap-drop ALL", reason))
    return found


def _words(line: str | Sequence[str]) -> list[str]:
    """Return the words after `docker run`."""
    try:
        words = shlex.split(line.replace("\\\n", " ")) if isinstance(line, str) else list(line)
    except ValueError as error:
        raise RequestError(f"the line cannot be read as a shell would: {error}") from None
    while words and words[0] == "sudo":
        del words[0]
    if not words or words[0].rpartition("/")[2] not in _PROGRAMS:
        raise RequestError("the line does not begin with docker run")
    del words[0]
    if words[:1] == ["container"]:
        del words[0]
    if words[:1] not in (["run"], ["create"]):
        raise RequestError("the line does not begin with docker run")
    return words[1:]


def _flags(word: str, words: list[str], takes: Mapping[str, Take]) -> list[tuple[str, str | None, str]]:
    """Return (flag, value, as written) for each flag of a word; values that stand apart are taken from `words`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        flag = _SAME.get(name, name)
        if flag in _ALWAYS or flag in _NO_SWITCH or flag == _READ_ONLY:
            return [(flag, value if equals else None, word)]
        if flag not in takes and flag not in _NO_VALUE:
            near = get_close_matches(flag, [*takes, *_NO_VALUE, *_NO_SWITCH, *_ALWAYS, _READ_ONLY], 1)
            raise RequestError(f"docker run has no flag {name}" + (f"; did you mean {near[0]}?" if near else ""))
        if equals:
            return [(flag, value, word)]
        return [(flag, _next(words, name), "")]
    found: list[tuple[str, str | None, str]] = []
    for place, letter in enumerate(word[1:], 2):
        if letter in _SHORT_SWITCHES:
            found.append((_SHORT_SWITCHES[letter], None, f"-{letter}"))
        elif letter in _SHORT:
            rest = word[place:].removeprefix("=")
            value = rest or _next(words, f"-{letter}")
            return [*found, (_SHORT[letter], value, f"-{letter} {value}")]
        else:
            raise RequestError(f"docker run has no flag -{letter}")
    return found


def _next(words: list[str], flag: str) -> str:
    if not words:
        raise RequestError(f"the flag {flag} has no value")
    return words.pop(0)


def _take(
    found: Converted, takes: Mapping[str, Take], flag: str, value: str | None, written: str, read: Callable[[str], str]
) -> None:
    shown = written or f"{flag} {value}"
    if flag == "--init":
        found.spec["init"] = value != "false"
    elif flag in _ALWAYS or value == "false":
        return
    elif flag == _READ_ONLY:
        read_only(found.spec)
    elif flag in _NO_SWITCH:
        found.refused.append((shown, _NO_SWITCH[flag]))
    elif flag == "--env-file":
        for line in read(value or "").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                takes["--env"](found.spec, line.lstrip())
    elif flag == "--ulimit" and value in ("core=0", "core=0:0"):
        return  # so it is for every job
    elif flag in _NO_VALUE:
        found.refused.append((shown, _NO_VALUE[flag]))
    else:
        try:
            takes[flag](found.spec, value or "")
        except Refused as reason:
            found.refused.append((shown, str(reason)))


def _check_swap(found: Converted) -> None:
    """Swap is never more than memory: every job has the same limit for both."""
    swap = found.spec.pop("memory_swap", None)
    if swap is not None and size(swap) != size((found.spec.get("resources") or {}).get("memory", "512m")):
        found.refused.append((f"--memory-swap {swap}", "a job does not swap"))


def _takes(environ: Mapping[str, str]) -> dict[str, Take]:
    """Return what each flag with a value does to the spec; it raises Refused with the reason."""

    def put(*path: str, read: Callable[[str], Any] = str) -> Take:
        def take(spec: Spec, value: str) -> None:
            *parents, name = path
            part = read(value)
            for parent in parents:
                spec = spec.setdefault(parent, {})
            spec[name] = part

        return take

    def add(name: str, read: Callable[[str], Any]) -> Take:
        def take(spec: Spec, value: str) -> None:
            part = read(value)
            spec.setdefault(name, []).append(part)

        return take

    def merge(name: str, read: Callable[[str], Mapping[str, str]]) -> Take:
        return lambda spec, value: spec.setdefault(name, {}).update(read(value))

    return {
        "--env": merge("environment", lambda value: environment(value, environ)),
        "--env-file": put("env_file"),
        "--volume": add("volumes", volume),
        "--mount": add("volumes", mount),
        "--tmpfs": add("volumes", tmpfs),
        "--workdir": put("working_dir"),
        "--user": put("user"),
        "--cpus": put("resources", "cpus", read=_cpus),
        "--cpu-quota": put("cpu_quota", read=_whole),
        "--cpu-period": put("cpu_period", read=_whole),
        "--memory": put("resources", "memory", read=lambda value: format_size(size(value))),
        "--memory-swap": put("memory_swap"),
        "--pids-limit": put("resources", "pids", read=_pids),
        "--gpus": put("resources", "gpus", read=gpus),
        "--storage-opt": put("resources", "disk", read=_disk),
        "--name": put("name"),
        "--network": put("network", read=network),
        "--label": merge("labels", label),
        "--entrypoint": put("entrypoint", read=lambda value: [value] if value else []),
        "--stop-signal": put("stop", "signal", read=_signal),
        "--stop-timeout": put("stop", "grace", read=lambda value: f"{_whole(value)}s"),
        "--restart": lambda spec, value: spec.update(restart(value)),
        "--security-opt": security_opt,
        "--cap-add": cap_add,
        "--cap-drop": cap_drop,
        "--device": device,
        "--pull": _pull,
    }


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise Refused(f"{value!r} is no whole number")
    return int(value)


def _cpus(value: str) -> float:
    try:
        cpus = float(value)
    except ValueError:
        raise Refused(f"{value!r} is no number") from None
    if not 0 < cpus <= 4096:
        raise Refused("every job has a limit of cpus")
    return int(cpus) if cpus == int(cpus) else cpus


def _pids(value: str) -> int:
    if value in ("0", "-1"):
        raise Refused("every job has a limit of processes")
    return _whole(value)


def _disk(value: str) -> str:
    name, _, amount = value.partition("=")
    if name != "size":
        raise Refused("only size= is known")
    return format_size(size(amount))


def _signal(value: str) -> str:
    if value.isdecimal():
        try:
            return signal.Signals(int(value)).name
        except ValueError:
            raise Refused(f"there is no signal {value}") from None
    return value if value.startswith("SIG") else f"SIG{value}"


def _pull(_spec: Spec, value: str) -> None:
    if value != "missing":
        raise Refused("an image is pulled where it is missing")
