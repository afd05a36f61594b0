"""What GET /version and GET /info of a Docker engine mean for a worker."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker.container_runtime import RuntimeInfo
from worker.gpus import has_toolkit


def describe(
    version: Mapping[str, Any], info: Mapping[str, Any], *, unlimited: bool, secrets_in_memory: bool
) -> RuntimeInfo:
    """`unlimited`: the connection has no pool limit; `secrets_in_memory`: secret files lie in a tmpfs."""
    return RuntimeInfo(
        version=str(version["Version"]),
        cpus_milli=int(info["NCPU"]) * 1000,
        memory_bytes=int(info["MemTotal"]),
        gpus=_gpus(info),
        gives_gpus=has_toolkit(info),
        warnings=tuple(_warnings(info, unlimited=unlimited, secrets_in_memory=secrets_in_memory)),
    )


def _warnings(info: Mapping[str, Any], *, unlimited: bool, secrets_in_memory: bool) -> Iterator[str]:
    if not info.get("LiveRestoreEnabled"):
        yield "Docker's live-restore is off: a restart of the engine ends the jobs that run"
    if not unlimited:
        yield "this engine is reached over the network: at most 45 containers can run at a time"
    if not secrets_in_memory:
        yield "the directory for secrets is not in memory: values of secrets reach a disk"
    file_system = dict(info.get("DriverStatus") or ()).get("Backing Filesystem")
    if info.get("Driver") == "overlay2" and file_system != "xfs":
        yield "this storage cannot limit disk space: what jobs with resources.disk write is watched every 2 s instead"
    yield from info.get("Warnings") or ()


def _gpus(info: Mapping[str, Any]) -> int:
    """Count the devices of NVIDIA's driver where Docker has its runtime; the API itself does not tell."""
    if not has_toolkit(info):
        return 0
    return sum(1 for device in Path("/dev").glob("nvidia*") if device.name.removeprefix("nvidia").isdigit())
