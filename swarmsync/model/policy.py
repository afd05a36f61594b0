"""What loosens a container, and who may ask for it. Pure.

A spec may always tighten. What opens the worker's machine to a job (paths, capabilities, devices, its network, all of
it) must be allowed twice: by an admin's policy for the user or the queue, and by the worker's own settings.
"""

import posixpath
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from swarmsync.model.spec import JobSpec, read_volume


class Allowance(Struct, frozen=True, forbid_unknown_fields=True):
    """What is allowed; nothing by default. A path allows what lies below it; `strict` demands the strict profile."""

    paths: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    machine_network: bool = False
    privileged: bool = False
    strict: bool = False

    def with_(self, other: "Allowance") -> "Allowance":
        """Join what two policies allow; a demand of one is a demand."""
        return Allowance(
            self.paths + other.paths,
            self.capabilities + other.capabilities,
            self.devices + other.devices,
            self.machine_network or other.machine_network,
            self.privileged or other.privileged,
            self.strict or other.strict,
        )


NOTHING: Final = Allowance()


def together(allowances: Iterable[Allowance]) -> Allowance:
    joined = NOTHING
    for allowance in allowances:
        joined = joined.with_(allowance)
    return joined


def loosens(spec: JobSpec) -> bool:
    """Tell whether the spec asks for anything that must be allowed."""
    return any(True for _ in refused(spec, NOTHING))


def refused(spec: JobSpec, allowed: Allowance) -> Iterator[tuple[str, str]]:
    """Yield (path in the spec, sentence) of what it asks for and `allowed` does not give."""
    for index, volume in enumerate(spec.volumes):
        mount = read_volume(volume)
        if mount.type == "bind" and not inside_any(mount.source, allowed.paths):
            path = f"the path {mount.source[:80]!r} of the worker's machine"
            yield f".volumes[{index}]", f"{path} is not allowed; use a named volume, or ask an admin for a policy"
    for index, capability in enumerate(spec.security.capabilities):
        if bare_capability(capability) not in map(bare_capability, allowed.capabilities):
            yield f".security.capabilities[{index}]", f"the capability {capability} {_NOT_ALLOWED}"
    for index, device in enumerate(spec.security.devices):
        if device not in allowed.devices:
            yield f".security.devices[{index}]", f"the device {device[:80]!r} {_NOT_ALLOWED}"
    if spec.network == "host" and not allowed.machine_network:
        yield ".network", f"the worker's own network {_NOT_ALLOWED}; use none, bridge or a named network"
    if spec.security.privileged and not allowed.privileged:
        yield ".security.privileged", f"a privileged container {_NOT_ALLOWED}"
    if allowed.strict and spec.security.profile != "strict":
        yield ".security.profile", "a policy demands strict here"


_NOT_ALLOWED = "is not allowed; ask an admin for a policy"


def bare_capability(name: str) -> str:
    """Write a capability as Docker does, whichever way it was written: `CAP_NET_ADMIN` is `NET_ADMIN`."""
    return name.upper().removeprefix("CAP_")


def inside_any(path: str, roots: Iterable[str]) -> bool:
    return any(_inside(path, root) for root in roots)


def _inside(path: str, root: str) -> bool:
    inner, outer = posixpath.normpath(path), posixpath.normpath(root)
    return path.startswith("/") and (inner == outer or inner.startswith(outer.rstrip("/") + "/"))
