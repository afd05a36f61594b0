"""From a ContainerPlan to what the Docker Engine API is sent, and from its answers to our values. Pure.

Field names are those of POST /containers/create and GET /containers/{id}/json (Docker Engine API 1.41 and later). The
defaults here are the security profile of a job: a spec may only tighten it. What would loosen it is refused by the
worker itself, whoever sent the order.
"""

import base64
import json
import math
import posixpath
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from swarmsync.model.policy import Allowance, bare_capability, inside_any
from worker.container_runtime import ContainerPlan, Exit, Mount, Observed, RegistryAuth, Seen

LABEL_JOB: Final = "swarmsync.job"
LABEL_ATTEMPT: Final = "swarmsync.attempt"
LABEL_FENCE: Final = "swarmsync.fence"
LABEL_SESSION: Final = "swarmsync.session"
LABEL_NOTE: Final = "swarmsync.note"
LABEL_OWNER: Final = "swarmsync.owner"
SECRETS_TARGET: Final = "/run/secrets"
#: The strict profile: nobody, and a small /tmp where the root is read-only.
STRICT_USER: Final = "65534:65534"
STRICT_TMP_BYTES: Final = 64 << 20

#: Taken from Docker's 14 default capabilities. NET_RAW forges packets on the bridge that jobs share (ping still works:
#: Docker opens ICMP sockets by sysctl); MKNOD makes devices; AUDIT_WRITE forges the kernel's audit log; SETFCAP writes
#: file capabilities that outlive the container in a volume. What ordinary images need stays: their entrypoints chown,
#: change user, bind port 80 and chroot.
CAPABILITIES_DROPPED: Final = ("NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP")

#: The `local` driver, because json-file replaces bytes that are no UTF-8. Rotation is as good as off: the agent counts
#: output from byte 0 and reads it again after a crash, and a rotated log would shift every offset. So the disk is
#: guarded by the agent, which ends an assignment whose output passes its limit.
LOG_CONFIG: Final[Mapping[str, Any]] = {
    "Type": "local",
    "Config": {"max-size": "1000000g", "max-file": "1", "compress": "false"},
}
_API_NEWEST: Final = (1, 45)
_CPUS_MILLI_BY_NAME: Final = 10
_TAG_OR_DIGEST: Final = re.compile(
    r"(?P<name>.+?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*))?(?P<digest>@[a-z0-9]+:[0-9a-f]+)?"
)
_IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@+-]*")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SHARES_THE_MACHINE: Final = "shares the worker's own network; use none, bridge or a named network"


def refusal(plan: ContainerPlan, allowed: Allowance) -> str | None:
    """Say why this plan must not run here, or None. Bind sources are absolute with symbolic links resolved already.

    `allowed` is the worker's own word: it holds whatever Core's policies say.
    """
    if plan.network == "host" and not allowed.machine_network:
        return f"the network {plan.network!r} {_SHARES_THE_MACHINE}"
    if not _NAME.fullmatch(plan.network):
        return f"{plan.network[:80]!r} is not the name of a network"
    for secret in plan.secrets:
        if not _NAME.fullmatch(secret.name):
            return f"{secret.name[:80]!r} is not the name of a secret"
        if secret.env is not None and secret.text is None:
            return f"the secret {secret.name} is to be a variable but is no text; use it as a file"
    for mount in plan.mounts:
        if not mount.target.startswith("/") or posixpath.normpath(mount.target) == "/":
            return f"{mount.target[:80]!r} is not a place to mount something"
        if mount.kind == "volume" and mount.source and not _NAME.fullmatch(mount.source):
            return f"{mount.source[:80]!r} is not the name of a volume"
        if mount.kind == "bind" and not inside_any(mount.source, allowed.paths):
            return f"the path {mount.source[:200]!r} of the worker's machine is not open to jobs"
    return _loosening(plan, allowed)


def _loosening(plan: ContainerPlan, allowed: Allowance) -> str | None:
    if plan.privileged and not allowed.privileged:
        return "this worker runs no privileged containers"
    for capability in plan.capabilities:
        if capability not in map(bare_capability, allowed.capabilities):
            return f"this worker gives no job the capability {capability}"
    for device in plan.devices:
        if device not in allowed.devices:
            return f"this worker gives no job the device {device}"
    return None


def create_body(plan: ContainerPlan, *, owner: str = "", secrets_path: str | None = None) -> dict[str, Any]:
    """Return the body of POST /containers/create.

    `secrets_path` is the directory on the worker's machine that holds this plan's secret files. Memory and swap get the
    same limit, so that a job is killed at its limit instead of swapping the machine to a halt.
    """
    environment = [f"{name}={value}" for name, value in plan.environment.items()]
    environment += [f"{secret.env}={secret.text}" for secret in plan.secrets if secret.env is not None]
    body: dict[str, Any] = {
        "Image": plan.image,
        "Env": environment,
        "Labels": _labels(plan, owner),
        "StopSignal": plan.stop_signal,
        "StopTimeout": math.ceil(plan.stop_grace_s),
        "HostConfig": _limits(plan, secrets_path),
    }
    if plan.entrypoint is not None:
        body["Entrypoint"] = list(plan.entrypoint)
    if plan.command is not None:
        body["Cmd"] = list(plan.command)
    if plan.working_dir is not None:
        body["WorkingDir"] = plan.working_dir
    if plan.user is not None or plan.strict:
        body["User"] = plan.user or STRICT_USER
    return body


def _labels(plan: ContainerPlan, owner: str) -> dict[str, str]:
    labels = {
        LABEL_JOB: plan.job,
        LABEL_ATTEMPT: str(plan.attempt),
        LABEL_FENCE: str(plan.fence),
        LABEL_SESSION: plan.session,
    }
    if plan.note:
        labels[LABEL_NOTE] = plan.note
    return labels | {LABEL_OWNER: owner} if owner else labels


def _limits(plan: ContainerPlan, secrets_path: str | None) -> dict[str, Any]:
    mounts = [_mount(mount) for mount in plan.mounts]
    if secrets_path is not None:
        mounts.append(_mount(Mount("bind", secrets_path, SECRETS_TARGET, read_only=True)))
    limits: dict[str, Any] = {
        **_cpu_limit(plan.cpus_milli),
        "Memory": plan.memory_bytes,
        "MemorySwap": plan.memory_bytes,
        "PidsLimit": plan.pids_max,
        "NetworkMode": plan.network,
        "Init": plan.init,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": dict(LOG_CONFIG),
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["ALL"] if plan.strict else list(CAPABILITIES_DROPPED),
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "Mounts": mounts,
    }
    if plan.capabilities:
        limits["CapAdd"] = list(plan.capabilities)
    if plan.devices:
        limits["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in plan.devices
        ]
    if plan.privileged:
        limits |= {"Privileged": True, "SecurityOpt": [], "CapDrop": []}
    if plan.read_only_root:
        limits["ReadonlyRootfs"] = True
        if all(mount.target != "/tmp" for mount in plan.mounts):  # noqa: S108 a path in the container
            mounts.append(_mount(Mount("tmpfs", "", "/tmp", size_bytes=STRICT_TMP_BYTES)))  # noqa: S108 the same
    if plan.gpus:
        limits["DeviceRequests"] = [{"Driver": "", "Count": plan.gpus, "Capabilities": [["gpu"]]}]
    if plan.disk_bytes is not None:
        limits["StorageOpt"] = {"size": str(plan.disk_bytes)}
    return limits


def _cpu_limit(cpus_milli: int) -> dict[str, int]:
    """Return the limit of CPU time.

    Docker's own period is 100 ms and the kernel's smallest slice 1 ms: for less than 0.01 CPUs the period is a second.
    """
    if cpus_milli >= _CPUS_MILLI_BY_NAME:
        return {"NanoCpus": cpus_milli * 1_000_000}
    return {"CpuPeriod": 1_000_000, "CpuQuota": cpus_milli * 1_000}


def _mount(mount: Mount) -> dict[str, Any]:
    body: dict[str, Any] = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind == "tmpfs":
        options = {"Mode": 0o1777} | ({"SizeBytes": mount.size_bytes} if mount.size_bytes is not None else {})
        return body | {"TmpfsOptions": options}
    body["Source"] = mount.source
    return body | {"BindOptions": {"Propagation": "rprivate"}} if mount.kind == "bind" else body


def image_path(image: str) -> str | None:
    """Return the image's part of a URL path, or None for what cannot be an image's name."""
    if not _IMAGE.fullmatch(image) or any(part in ("", ".", "..") for part in image.split("/")):
        return None
    return quote(image, safe="/:@+")


def pull_query(image: str) -> dict[str, str]:
    """Return the query of POST /images/create; without a tag that call would fetch every tag there is."""
    match = _TAG_OR_DIGEST.fullmatch(image)
    assert match is not None, image
    if match["digest"]:
        return {"fromImage": match["name"] + match["digest"]}
    return {"fromImage": match["name"], "tag": match["tag"] or "latest"}


def auth_header(auth: RegistryAuth) -> dict[str, str]:
    document = json.dumps({"username": auth.username, "password": auth.password})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(document.encode()).decode()}


def api_version(newest: str, oldest: str) -> str:
    """Choose the version to speak from GET /version: the newest that both know."""
    wanted = min(_API_NEWEST, _numbers(newest))
    return ".".join(map(str, max(wanted, _numbers(oldest or "1.24"))))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple([int(part) for part in version.split(".")])


def unix_seconds(stamp: str) -> float | None:
    """Read a time of an inspect answer; Docker writes year 1 for "never"."""
    return None if not stamp or stamp.startswith("0001-") else datetime.fromisoformat(stamp).timestamp()


def exit_of(state: Mapping[str, Any]) -> Exit:
    """Read the State of an inspect answer. Docker notes the start late: a fast container seems to end before it."""
    started_at, finished_at = unix_seconds(state["StartedAt"]), unix_seconds(state["FinishedAt"])
    if started_at is not None and finished_at is not None:
        finished_at = max(started_at, finished_at)
    return Exit(
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        started_at=started_at,
        finished_at=finished_at,
        error=state["Error"],
        removed=is_leaving(state["Status"]),
    )


def is_leaving(status: str) -> bool:
    """Whether somebody is removing it: Docker marks that before it kills, so a removal is never taken for an exit."""
    return status in ("removing", "dead")


def seen_of(status: str) -> Seen:
    """Read State.Status (inspect) or State (list)."""
    if is_leaving(status):
        return Seen.ABSENT
    return {"created": Seen.CREATED, "exited": Seen.EXITED}.get(status, Seen.RUNNING)


def observed_of(container_id: str, labels: Mapping[str, str], seen: Seen, looked: Exit) -> Observed | None:
    """Join our labels with what an inspection showed; None for labels that we did not write."""
    try:
        attempt, fence = int(labels[LABEL_ATTEMPT]), int(labels[LABEL_FENCE])
    except (KeyError, ValueError):
        return None
    exited = seen is Seen.EXITED
    return Observed(
        container_id=container_id,
        job=labels[LABEL_JOB],
        attempt=attempt,
        fence=fence,
        session=labels.get(LABEL_SESSION, ""),
        state=seen,
        exit_code=looked.exit_code if exited else None,
        oom_killed=looked.oom_killed,
        started_at=looked.started_at,
        finished_at=looked.finished_at if exited else None,
        error=looked.error,
        note=labels.get(LABEL_NOTE, ""),
    )
