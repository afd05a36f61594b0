"""Values of Docker's flags as parts of a spec; what a job cannot have is Refused with the reason. Pure."""

import csv
import re
from collections.abc import Mapping
from typing import Any

from swarmsync.model.resources import format_size, parse_size

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_MACHINE_PATH = "a job sees no path of the worker's machine; use a named volume"


class Refused(Exception):
    """A job cannot do this; the message is the reason."""


def size(value: str) -> int:
    """Return a size in bytes; Docker reads a plain number as bytes and `b k m g` as powers of 1024."""
    text = value.strip().lower()
    if text.isdecimal():
        return int(text)
    if re.fullmatch(r"\d+(\.\d+)?[bkmgt]i?b?", text):
        number, unit = float(re.split(r"[a-z]", text)[0]), re.sub(r"[\d.]", "", text)[0]
        return int(number * 1024 ** "bkmgt".index(unit))
    try:
        return parse_size(value)
    except ValueError as error:
        raise Refused(str(error)) from None


def environment(value: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Read NAME=VALUE; a NAME alone has the value that it has here, or is left out, as in Docker."""
    name, equals, text = value.partition("=")
    if not name:
        raise Refused("the variable has no name")
    return {name: text} if equals else {name: environ[name]} if name in environ else {}


def label(value: str) -> dict[str, str]:
    key, _, text = value.partition("=")
    return {key: text}


def volume(value: str) -> str:
    """Read `name:/target[:ro]`."""
    source, colon, rest = value.partition(":")
    if not colon:
        raise Refused("a volume of a job needs a name: NAME:/path")
    if not _NAME.fullmatch(source):
        raise Refused(_MACHINE_PATH)
    target, _, mode = rest.partition(":")
    if not target.startswith("/"):
        raise Refused("the place in the container is no absolute path")
    if mode not in ("", "rw", "ro"):
        raise Refused(f"the option {mode} is not known for volumes of jobs; only ro and rw are")
    return f"{source}:{target}" + (":ro" if mode == "ro" else "")


def mount(value: str) -> dict[str, Any]:
    """Read the fields of --mount."""
    fields: dict[str, str] = {}
    for part in next(csv.reader([value]), []):
        name, equals, text = part.partition("=")
        fields[name.lower()] = text if equals else "true"
    kind = fields.pop("type", "volume")
    source = fields.pop("source", fields.pop("src", ""))
    target = next((fields.pop(name) for name in ("target", "dst", "destination") if name in fields), "")
    read_only = next((fields.pop(name) for name in ("readonly", "ro") if name in fields), "false")
    amount = fields.pop("tmpfs-size", "") if kind == "tmpfs" else ""
    if kind == "bind":
        raise Refused(_MACHINE_PATH)
    if kind not in ("volume", "tmpfs"):
        raise Refused(f"mounts of the type {kind} are not known for jobs")
    if fields:
        raise Refused(f"the option {next(iter(fields))} is not known for mounts of jobs")
    if kind == "volume" and not _NAME.fullmatch(source):
        raise Refused("a volume of a job needs a name: source=NAME")
    found: dict[str, Any] = {"type": kind, "target": target}
    found |= {"source": source} if kind == "volume" else {}
    found |= {"read_only": True} if read_only in ("true", "1") else {}
    return found | ({"size": format_size(size(amount))} if amount else {})


def tmpfs(value: str) -> dict[str, Any]:
    """Read `/target[:size=64m,rw]`."""
    target, _, options = value.partition(":")
    found: dict[str, Any] = {"type": "tmpfs", "target": target}
    for option in filter(None, options.split(",")):
        name, _, text = option.partition("=")
        if name == "size":
            found["size"] = format_size(size(text))
        elif option == "ro":
            found["read_only"] = True
        elif option not in ("rw", "nosuid", "nodev", "noexec"):  # Docker's own defaults
            raise Refused(f"the option {option} is not known for tmpfs of jobs; size, ro and rw are")
    return found


def gpus(value: str) -> int:
    if not value.isdecimal():
        raise Refused("say how many: a job asks for a number of gpus")
    return int(value)


def network(value: str) -> str:
    name = "bridge" if value == "default" else value
    if name == "host" or name.startswith("container:"):
        raise Refused("a job does not share the network of the worker's machine or of other containers")
    if not _NAME.fullmatch(name):
        raise Refused("settings of the network are not known for jobs; give its name alone")
    return name


def restart(value: str) -> dict[str, Any]:
    """Read a restart policy: a failed job is tried again, a job that ended well is not."""
    policy, _, times = value.partition(":")
    if policy in ("no", ""):
        return {}
    if policy == "on-failure" and times.isdecimal() and 0 < int(times) < 100:
        return {"retry": {"attempts": int(times) + 1}}
    if policy == "on-failure":
        raise Refused("say how often: on-failure:3")
    raise Refused("a job ends; what shall go on for ever is a service")
