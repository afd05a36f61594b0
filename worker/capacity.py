"""What this machine offers: detected, unless the settings say otherwise."""

import platform
import re
import socket
from pathlib import Path

from conf.settings import LocalWorkerSettings
from swarmsync.errors import ConfigError
from swarmsync.model.resources import Need, format_size, parse_size
from swarmsync.model.worker import WorkerOffer
from worker.container_runtime import RuntimeInfo

#: Kept back from jobs for the system, Core and Docker, unless the settings name an amount.
MEMORY_SHARE = 0.9
_ANY_DISK = 1 << 62  # disk is enforced by the runtime where it can be, not counted here


def offer_of(settings: LocalWorkerSettings, runtime: str, info: RuntimeInfo, version: str) -> WorkerOffer:
    """Return the offer of this machine. Raises ConfigError for an amount that cannot be read."""
    reserved = round(settings.reserve_cpus * 1000)
    cpus_milli = round(settings.cpus * 1000) if settings.cpus else info.cpus_milli - reserved
    memory = _size("memory", settings.memory)
    if memory is None:
        kept = _size("reserve_memory", settings.reserve_memory)
        memory = int(info.memory_bytes * MEMORY_SHARE) if kept is None else info.memory_bytes - kept
    if cpus_milli <= 0 or memory <= 0:
        raise ConfigError(
            f"worker.reserve_cpus and worker.reserve_memory leave nothing for jobs: this machine has"
            f" {info.cpus_milli / 1000:g} cpus and {format_size(info.memory_bytes)}"
        )
    known = {"arch": platform.machine(), "os": "linux", "runtime": runtime}
    if info.gpu_model:
        known["gpu.model"] = info.gpu_model
    return WorkerOffer(
        name=settings.name or default_name(),
        capacity=Need(cpus_milli, memory, info.gpus if settings.gpus < 0 else settings.gpus, _ANY_DISK),
        labels={**known, **settings.labels},
        runtime=runtime,
        version=version,
        machine=machine_id(),
    )


def check_amounts(settings: LocalWorkerSettings) -> None:
    """Raise ConfigError for an amount that cannot be read: before anything is connected, which may take for ever."""
    for name in ("memory", "reserve_memory", "images_max"):
        _size(name, getattr(settings, name))


def _size(name: str, text: str) -> int | None:
    try:
        return parse_size(text) if text else None
    except ValueError as problem:
        raise ConfigError(f"worker.{name}: {problem}") from None


def default_name() -> str:
    """The machine's name, made fit for a subject."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "-", socket.gethostname()).strip("-_")[:48]
    return name or "worker"


def machine_id() -> str:
    """What tells two machines with one name apart."""
    for path in (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text:
            return text
    return socket.gethostname()
