"""Values of Docker's flags as parts of a spec; what a job cannot have is Refused with the reason. Pure."""

import csv
import re
from collections.abc import Mapping
from typing import Any, Final

from swarmsync.model.resources import format_size, parse_size

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_BY_POLICY = "needs an administrator's policy; where there is one, write"
_MACHINE_PATH = f"a path of the worker's machine {_BY_POLICY} it into volumes; else use a named volume"
PRIVILEGED = f"a privileged container {_BY_POLICY} security.privileged: true"
_STRICT = "security.profile: strict, which also makes the root read-only and runs as nobody"
_DROP_ALL = "cap_drop_all"
_CAPABILITY = re.compile(r"[A-Z_]{3,32}")
_DEVICE = re.compile(r"/dev/[a-zA-Z0-9._/-]{1,128}")
#: The capabilities that workers take from every container (tests compare this with the worker's list).
DROPPED: Final = frozenset({"AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP"})
#: What is left of Docker's own: every job has these, and needs no policy for them.
KEPT: Final = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
})  # fmt: skip


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
    if name == "host":
        raise Refused(f"the network of the worker's machine {_BY_POLICY} network: {name}")
    if name.startswith("container:"):
        raise Refused("a job does not share the network of another container")
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


def cap_add(spec: dict[str, Any], value: str) -> None:
    name = _bare(value)
    if not _CAPABILITY.fullmatch(name):
        raise Refused(f"{value!r} is no capability; write it like NET_ADMIN")
    if name not in KEPT:
        _security(spec).setdefault("capabilities", []).append(name)


def cap_drop(spec: dict[str, Any], value: str) -> None:
    """Take what no job has; of `ALL` a mark stays in the spec, which `settle_drop` takes out at the end."""
    name = _bare(value)
    if name == "ALL":
        spec[_DROP_ALL] = True
    elif name not in DROPPED:
        raise Refused(f"no job has {', '.join(sorted(DROPPED))}; the others are dropped together, by {_STRICT}")


def settle_drop(spec: dict[str, Any]) -> str | None:
    """Drop all capabilities where the rest of the spec is what the strict profile does, too; else say why not."""
    if not spec.pop(_DROP_ALL, False):
        return None
    security, user = spec.get("security", {}), spec.get("user", "").partition(":")[0]
    if not security.keys() <= {"read_only"}:
        return f"all are dropped only by {_STRICT}; it does not go with capabilities or devices"
    if not security or user in ("", "0", "root"):
        return f"all are dropped only by {_STRICT}; give --read-only and --user, too"
    spec["security"] = {"profile": "strict"}
    return None


def device(spec: dict[str, Any], value: str) -> None:
    """Read `/dev/x[:/dev/x][:rwm]`."""
    path, *more = value.split(":")
    if not path.startswith("/"):
        raise Refused("a job gets devices by their paths; for GPUs say how many: --gpus 1")
    if not _DEVICE.fullmatch(path):
        raise Refused("only devices below /dev are known for jobs")
    if more not in ([], [path], ["rwm"], [path, "rwm"]):
        raise Refused("a device has its own path in a job, and may be read, written and made (rwm)")
    _security(spec).setdefault("devices", []).append(path)


def read_only(spec: dict[str, Any]) -> None:
    _security(spec)["read_only"] = True


def security_opt(_spec: dict[str, Any], value: str) -> None:
    if value not in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
        raise Refused("only no-new-privileges, which every job has")


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _security(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec.setdefault("security", {})
    return found
