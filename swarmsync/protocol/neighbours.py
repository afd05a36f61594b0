"""The nearest known key for a typing error in a spec."""

import difflib
import re
from typing import Final

import msgspec

from swarmsync.model import files
from swarmsync.model import spec as model
from swarmsync.model.schedule import ScheduleSpec

_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "": model.JobSpec,
    "job": model.JobSpec,
    "schedule": ScheduleSpec,
    "resources": model.Resources,
    "stop": model.Stop,
    "retry": model.Retry,
    "array": model.Array,
    "logs": model.Logs,
    "concurrency": model.Concurrency,
    "volumes": model.VolumeSpec,
    "after": model.After,
    "affinity": model.Affinity,
    "outputs": files.Output,
    "secrets": files.SecretUse,
}

#: Words of other systems for fields of ours.
_SYNONYMS: Final = {
    "env": "environment",
    "cmd": "command",
    "args": "command",
    "workdir": "working_dir",
    "cpu": "resources.cpus",
    "cpus": "resources.cpus",
    "mem": "resources.memory",
    "memory": "resources.memory",
    "gpus": "resources.gpus",
    "networks": "network",
    "mounts": "volumes",
    "depends_on": "after",
    "retries": "retry.attempts",
    "schedule": "a schedule of its own (consumer schedule create)",
    "cron": "a schedule of its own (consumer schedule create)",
}


def nearest_key(unknown: str, place: str, top: str = "") -> str:
    """Return `; did you mean X?`, or the list of known keys; `top` is the section of the document itself."""
    section = re.sub(r"\[[^]]*\]", "", place).removeprefix("$").strip(".").split(".")[-1] or top
    struct = _STRUCTS.get(section)
    if struct is None:
        return ""
    if section in ("", "job") and unknown in _SYNONYMS:
        return f"; did you mean {_SYNONYMS[unknown]}?"
    known = [entry.encode_name for entry in msgspec.structs.fields(struct)]
    close = difflib.get_close_matches(unknown.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
