"""A service of a Compose file as a job's spec; keys that a job cannot honour are named. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from cli.docker_lines import Converted
from cli.docker_values import (
    PRIVILEGED,
    Refused,
    cap_add,
    cap_drop,
    device,
    network,
    read_only,
    restart,
    security_opt,
    settle_drop,
    size,
    tmpfs,
    volume,
)
from swarmsync.errors import NotFound, RequestError
from swarmsync.model.resources import format_size

Spec = dict[str, Any]
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<other>[^}]*))?\})"
)
_REASONS: Final = {
    "build": "a job runs an image that exists; build and push it first",
    "ports": "jobs publish no ports",
    "expose": "jobs publish no ports",
    "depends_on": "services do not wait for one another here; see after in the spec",
    "healthcheck": "a job is healthy while it runs",
    "privileged": PRIVILEGED,
    "stdin_open": "a job has no stdin",
    "tty": "a job has no terminal",
    "extends": "give the service whole",
    "logging": "a job's log is SwarmSync's; see logs in the spec",
    "hostname": "a container's own name is Docker's",
    "configs": "put them into the image or a volume",
}


def convert(document: Any, service: str, environ: Mapping[str, str], read: Callable[[str], str]) -> Converted:
    """Read one service. Raises NotFound where there is none of this name, RequestError for what is no Compose file."""
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict):
        raise RequestError("the file has no services; is it a Compose file?")
    if service not in services:
        raise NotFound(f"there is no service {service!r}; there are {', '.join(map(str, services))}")
    found = Converted({"name": service}, [])
    entry = _filled(services[service] or {}, environ)
    if not isinstance(entry, dict):
        raise RequestError(f"the service {service} is no mapping")
    for key, value in entry.items():
        if str(key).startswith("x-") or value in (None, False, [], {}):
            continue
        take = _TAKES.get(key)
        if take is None:
            found.refused.append((str(key), _REASONS.get(key, "there is no such setting for a job")))
            continue
        try:
            take(found, value, read)
        except Refused as reason:
            found.refused.append((str(key), str(reason)))
        except (TypeError, ValueError, AttributeError, KeyError):
            raise RequestError(f"services.{service}.{key} has not the form that Compose knows") from None
    if "image" not in found.spec:
        raise RequestError(f"the service {service} has no image; a job needs one")
    _name_volumes(found, document.get("volumes"))
    if undropped := settle_drop(found.spec):
        found.refused.append(("cap_drop: ALL", undropped))
    return found


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """Return the value with ${VARIABLES} put in, as Compose does."""
    if isinstance(value, dict):
        return {key: _filled(entry, environ) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, environ) for entry in value]
    return _VARIABLE.sub(lambda match: _variable(match, environ), value) if isinstance(value, str) else value


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    name, how, other = match["name"] or match["braced"], match["how"] or "", match["other"] or ""
    value = environ.get(name)
    there = bool(value) if how.startswith(":") else value is not None
    if how.endswith("-"):
        return value or "" if there else other
    if how.endswith("+"):
        return other if there else ""
    if how.endswith("?") and not there:
        raise RequestError(f"the variable {name} is not set: {other or 'it is needed'}")
    return value or ""


def _words(value: Any) -> Any:
    return list(map(str, value)) if isinstance(value, list) else str(value)


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {str(key): _text(entry) for key, entry in value.items()}
    pairs = (str(entry).partition("=") for entry in value)
    return {key: text for key, _, text in pairs}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _put(*path: str, read: Callable[[Any], Any] = str) -> Callable[[Converted, Any, Any], None]:
    def take(found: Converted, value: Any, _read: Any) -> None:
        target = found.spec
        for parent in path[:-1]:
            target = target.setdefault(parent, {})
        target[path[-1]] = read(value)

    return take


def _environment(found: Converted, value: Any, _read: Any) -> None:
    found.spec.setdefault("environment", {}).update(_pairs(value))


def _env_file(found: Converted, value: Any, read: Callable[[str], str]) -> None:
    """Variables from files stand behind those that are given one by one."""
    loaded: dict[str, str] = {}
    for entry in value if isinstance(value, list) else [value]:
        path = entry["path"] if isinstance(entry, dict) else entry
        lines = (line.strip() for line in read(str(path)).splitlines())
        loaded |= _pairs([line for line in lines if line and not line.startswith("#")])
    found.spec["environment"] = {**loaded, **found.spec.get("environment", {})}


def _volumes(found: Converted, value: Any, _read: Any) -> None:
    for entry in value:
        try:
            found.spec.setdefault("volumes", []).append(_volume(entry))
        except Refused as reason:
            shown = entry if isinstance(entry, str) else entry.get("target", "")
            found.refused.append((f"volumes: {shown}", str(reason)))
    if not found.spec.get("volumes"):
        found.spec.pop("volumes", None)


def _volume(entry: Any) -> Any:
    if isinstance(entry, str):
        return volume(entry)
    kind, rest = entry.get("type", "volume"), {*entry} - {"type", "source", "target", "read_only", "tmpfs", "volume"}
    if kind == "tmpfs":
        amount = (entry.get("tmpfs") or {}).get("size")
        sized = {"size": format_size(size(str(amount)))} if amount else {}
        return {"type": "tmpfs", "target": entry["target"], **sized}
    if kind != "volume" or rest:
        raise Refused("only named volumes and tmpfs are known for jobs")
    return volume(f"{entry.get('source', '')}:{entry['target']}" + (":ro" if entry.get("read_only") else ""))


def _tmpfs(found: Converted, value: Any, _read: Any) -> None:
    entries = value if isinstance(value, list) else [value]
    found.spec.setdefault("volumes", []).extend(map(tmpfs, entries))


def _each(name: str, take: Callable[[Spec, str], None]) -> Callable[[Converted, Any, Any], None]:
    def take_each(found: Converted, value: Any, _read: Any) -> None:
        for entry in value:
            try:
                take(found.spec, str(entry))
            except Refused as reason:
                found.refused.append((f"{name}: {entry}", str(reason)))

    return take_each


def _read_only(found: Converted, _value: Any, _read: Any) -> None:
    read_only(found.spec)


def _networks(found: Converted, value: Any, _read: Any) -> None:
    names = list(value)
    if len(names) != 1 or (isinstance(value, dict) and value[names[0]]):
        raise Refused("a job is in one network, without settings of its own")
    found.spec["network"] = network(str(names[0]))


def _secrets(found: Converted, value: Any, _read: Any) -> None:
    if any(isinstance(entry, dict) and {*entry} != {"source"} for entry in value):
        raise Refused("secrets are files in /run/secrets, by their names")
    found.spec["secrets"] = [entry["source"] if isinstance(entry, dict) else str(entry) for entry in value]


def _restart(found: Converted, value: Any, _read: Any) -> None:
    found.spec.update(restart(_text(value)))


def _deploy(found: Converted, value: Any, _read: Any) -> None:
    wanted = dict(value)
    limits = dict((wanted.pop("resources", None) or {}).get("limits") or {})
    resources = found.spec.setdefault("resources", {})
    if "cpus" in limits:
        resources["cpus"] = float(limits.pop("cpus"))
    if "memory" in limits:
        resources["memory"] = format_size(size(str(limits.pop("memory"))))
    if "pids" in limits:
        resources["pids"] = int(limits.pop("pids"))
    reserved = (value.get("resources") or {}).get("reservations")
    rest = [*(f"deploy.{name}" for name in wanted), *(f"deploy.resources.limits.{name}" for name in limits)]
    rest += ["deploy.resources.reservations"] if reserved else []
    found.refused += [(name, "there is no such setting for a job") for name in rest]
    if not resources:
        del found.spec["resources"]


def _name_volumes(found: Converted, declared: Any) -> None:
    """A named volume may have another name outside of the file."""
    names = {
        key: entry["name"] for key, entry in (declared or {}).items() if isinstance(entry, dict) and entry.get("name")
    }
    for index, entry in enumerate(found.spec.get("volumes", [])):
        if isinstance(entry, str) and (source := entry.partition(":")[0]) in names:
            found.spec["volumes"][index] = names[source] + entry.removeprefix(source)


_TAKES: Final[Mapping[str, Callable[[Converted, Any, Callable[[str], str]], None]]] = {
    "image": _put("image"),
    "command": _put("command", read=_words),
    "entrypoint": _put("entrypoint", read=_words),
    "environment": _environment,
    "env_file": _env_file,
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "working_dir": _put("working_dir"),
    "user": _put("user"),
    "labels": _put("labels", read=_pairs),
    "container_name": _put("name"),
    "init": _put("init", read=bool),
    "network_mode": _put("network", read=lambda value: network(str(value))),
    "networks": _networks,
    "secrets": _secrets,
    "restart": _restart,
    "stop_signal": _put("stop", "signal"),
    "stop_grace_period": _put("stop", "grace"),
    "cpus": _put("resources", "cpus", read=float),
    "mem_limit": _put("resources", "memory", read=lambda value: format_size(size(str(value)))),
    "pids_limit": _put("resources", "pids", read=int),
    "deploy": _deploy,
    "read_only": _read_only,
    "cap_add": _each("cap_add", cap_add),
    "cap_drop": _each("cap_drop", cap_drop),
    "devices": _each("devices", device),
    "security_opt": _each("security_opt", security_opt),
}
