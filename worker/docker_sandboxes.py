"""Empty containers on a Docker engine whose network namespaces jobs join: made, judged and removed (`sandbox_pool.py`).

Nothing but the namespace is shared: the files of names below /etc, which Docker would share as well, are each
container's own. Before another container joins, the kernel must count the same sockets in the namespace as at first:
one that waits on loopback is enough to give it up.
"""

import asyncio
import contextlib
import io
import re
import struct
import tarfile
import time
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, json

from worker.container_runtime import ContainerPlan, SecretFile
from worker.docker_engine import DockerEngine, EngineAway
from worker.sandbox_pool import LIFE_S, Sandbox, SandboxPool
from worker.secret_files import SecretFiles

LABEL_SANDBOX: Final = "swarmsync.sandbox"
LABEL_PAUSE: Final = "swarmsync.pause"
FAILURES_MAX: Final = 3
MEMORY_BYTES: Final = 16 << 20
NETWORK_FILES: Final = ("hosts", "hostname", "resolv.conf")
#: What is counted per namespace: sockets of any kind, those of each protocol, and what of TCP waits for its end.
_COUNTS: Final = re.compile(rb"(?:used|inuse|tw) (\d+)")
_COUNTED: Final = ("sockstat", "sockstat6")
_NAMES: Final = (
    b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    b"ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)
_ELF_AT: Final = 0x400000


class _Guest(Struct):
    """A container that could use a sandbox, and the one that it has joined."""

    user_id: int
    sandbox: Sandbox | None = None


class DockerSandboxes:
    def __init__(self, engine: DockerEngine, owner: str, files: SecretFiles, *, wanted: bool = True) -> None:
        self._engine, self._owner, self._files = engine, owner, files
        self._wanted = wanted
        self.pool = SandboxPool()
        self._guests: dict[str, _Guest] = {}  # by container name
        self._names: dict[str, str] = {}  # container id -> name
        self._works: set[asyncio.Task[None]] = set()
        self._image = ""
        self._failures = FAILURES_MAX  # until `open` has found an engine where this is possible

    async def open(self, info: Mapping[str, Any], names: set[str]) -> None:
        """Remove what an agent before us left; containers that have joined go on without. Raises EngineAway."""
        self._files.forget_all_but(names)
        if not self._owner or not self._engine.unlimited or info.get("Architecture") != "x86_64":
            return
        query = {"all": "1", "filters": json.encode({"label": [f"{LABEL_SANDBOX}={self._owner}"]}).decode()}
        left = await self._engine.call("GET", "/containers/json", query)
        for entry in left.document if left.ok else ():
            await self._remove(entry["Id"])
        self._failures = 0 if self._wanted else FAILURES_MAX

    async def close(self) -> None:
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        await asyncio.gather(*(self._remove(container_id) for container_id in self.pool.all))
        self.pool = SandboxPool()

    # ------------------------------------------------ containers come and go

    def join(self, plan: ContainerPlan, body: dict[str, Any]) -> bool:
        """Let the container that `body` describes join a sandbox, where there is one for it."""
        if self._failures >= FAILURES_MAX or not may_join(plan):
            return False
        guest = self._guests[plan.name] = _Guest(plan.user_id)
        sandbox = self._taken(plan.user_id)
        if sandbox is None:
            running = sum(each.user_id == plan.user_id for each in self._guests.values())
            wanted, gone = self.pool.missed(plan.user_id, running, _now_ms())
            for container_id in gone:
                self._begin(self._remove(container_id))
            if wanted:
                self._begin(self._make(plan.user_id))
            return False
        try:
            path = self._files.write(plan.name, _network_files(sandbox))
        except OSError:
            self._give_back(sandbox)
            return False
        guest.sandbox = sandbox
        settings = body["HostConfig"]
        settings["NetworkMode"] = f"container:{sandbox.container_id}"
        settings["Mounts"] += [_bound(f"{path}/{name}", f"/etc/{name}", plan) for name in NETWORK_FILES]
        return True

    def _taken(self, user_id: int) -> Sandbox | None:
        """Return one that is still there: an engine that was restarted has none of them any more."""
        while (sandbox := self.pool.take(user_id, _now_ms())) is not None and not is_clean(sandbox):
            self._give_back(sandbox)
        return sandbox

    def part(self, plan: ContainerPlan, body: dict[str, Any]) -> bool:
        """Take back what `join` did, since the engine would not have it; return that it has not joined."""
        self.left(plan.name)
        settings = body["HostConfig"]
        settings["NetworkMode"] = plan.network
        settings["Mounts"] = settings["Mounts"][: -len(NETWORK_FILES)]
        return False

    def created(self, name: str, container_id: str) -> None:
        if name in self._guests:
            self._names[container_id] = name

    def left(self, name: str | None, container_id: str = "") -> None:
        """This container has ended, or never came to be: its sandbox may serve another."""
        name = name or self._names.get(container_id)
        guest = self._guests.pop(name, None) if name is not None else None
        self._names.pop(container_id, None)
        if guest is not None and guest.sandbox is not None:
            self._give_back(guest.sandbox)

    def removed(self, name: str | None, container_id: str) -> None:
        self.left(name, container_id)
        if name is not None:
            self._files.forget(name)

    async def lost(self, container_id: str) -> bool:
        """Whether this container has joined a sandbox that is not there any more."""
        guest = self._guests.get(self._names.get(container_id, ""))
        if guest is None or guest.sandbox is None:
            return False
        shown = await self._engine.call("GET", f"/containers/{guest.sandbox.container_id}/json")
        return not shown.ok or not shown.document["State"]["Running"]

    def _give_back(self, sandbox: Sandbox) -> None:
        if not self.pool.left(sandbox, clean=is_clean(sandbox)):
            self._begin(self._remove(sandbox.container_id))

    # ------------------------------------------------ sandboxes come and go

    def _begin(self, work: Any) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._works.add(running)
        running.add_done_callback(self._works.discard)

    async def _make(self, user_id: int) -> None:
        made: Sandbox | None = None
        try:
            made = await self._made(user_id)
        except (EngineAway, OSError):
            pass  # the next container that finds none asks again
        finally:
            self._failures = 0 if made is not None else self._failures + 1
            self.pool.made(user_id, made)

    async def _made(self, user_id: int) -> Sandbox | None:
        body = sandbox_body(await self._pause_image(), self._owner)
        answer = await self._engine.call("POST", "/containers/create", body=body)
        if answer.status == 404:  # somebody removed the image
            body = sandbox_body(await self._pause_image(anew=True), self._owner)
            answer = await self._engine.call("POST", "/containers/create", body=body)
        if not answer.ok:
            return None
        container_id, made_ms = answer.document["Id"], _now_ms()
        try:
            started = await self._engine.call("POST", f"/containers/{container_id}/start")
            shown = await self._engine.call("GET", f"/containers/{container_id}/json")
            pid = shown.document["State"]["Pid"] if started.ok and shown.ok else 0
            sockets = sockets_of(container_id, pid)
            if sockets:
                return Sandbox(container_id, user_id, pid, sockets, made_ms)
        except (EngineAway, asyncio.CancelledError):
            self._begin(self._remove(container_id))
            raise
        await self._remove(container_id)
        return None

    async def _remove(self, container_id: str) -> None:
        with contextlib.suppress(EngineAway):  # it ends by itself, and goes with its end
            await self._engine.call("DELETE", f"/containers/{container_id}", {"force": "1", "v": "1"})

    async def _pause_image(self, *, anew: bool = False) -> str:
        """Return the id of the image that does nothing; it has no name, and is told by its label."""
        if self._image and not anew:
            return self._image
        query = {"filters": json.encode({"label": [f"{LABEL_PAUSE}={LIFE_S}"]}).decode()}
        found = await self._engine.call("GET", "/images/json", query)
        if found.ok and found.document:
            self._image = found.document[0]["Id"]
            return self._image
        made = [("fromSrc", "-"), ("changes", f"LABEL {LABEL_PAUSE}={LIFE_S}")]
        answer = await self._engine.call("POST", "/images/create", made, data=_pause_tar())
        if not answer.ok:
            raise EngineAway(answer.message)
        self._image = json.decode(answer.body.splitlines()[-1])["status"]
        return self._image


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def may_join(plan: ContainerPlan) -> bool:
    """Only what cannot change its network: no more rights than jobs have, and a known user."""
    loosened = plan.privileged or plan.capabilities or plan.devices
    taken = any(mount.target.startswith("/etc") for mount in plan.mounts)
    return plan.network == "none" and plan.user_id != 0 and not loosened and not taken


def sandbox_body(image: str, owner: str) -> dict[str, Any]:
    return {
        "Image": image,
        "Cmd": ["/pause"],
        "User": "65534:65534",
        "Labels": {LABEL_SANDBOX: owner},
        "HostConfig": {
            "NetworkMode": "none",
            "AutoRemove": True,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Memory": MEMORY_BYTES,
            "MemorySwap": MEMORY_BYTES,
            "PidsLimit": 4,
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


def sockets_of(container_id: str, pid: int, proc: str = "/proc") -> tuple[int, ...] | None:
    """Count the sockets in a container's network; None where that cannot be seen, or is another process by now."""
    try:
        if container_id.encode() not in _read(f"{proc}/{pid}/cgroup"):
            return None
        counted = b"".join([_read(f"{proc}/{pid}/net/{table}") for table in _COUNTED])
    except OSError:
        return None
    return tuple([int(count) for count in _COUNTS.findall(counted)])


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 pathlib takes longer than the kernel does
        return file.readall()


def is_clean(sandbox: Sandbox) -> bool:
    """Whether it is as at first."""
    return sockets_of(sandbox.container_id, sandbox.pid) == sandbox.sockets


def _bound(source: str, target: str, plan: ContainerPlan) -> dict[str, Any]:
    options = {"Propagation": "rprivate"}
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": plan.read_only_root, "BindOptions": options}


def _network_files(sandbox: Sandbox) -> list[SecretFile]:
    """What Docker would write for a container without a network; the machine's own name is in none of it."""
    return [
        SecretFile("hosts", _NAMES),
        SecretFile("hostname", sandbox.container_id[:12].encode() + b"\n"),
        SecretFile("resolv.conf", b""),
    ]


def pause_program(seconds: int) -> bytes:
    """An x86-64 program without libraries that sleeps for so long, once, and ends: `nanosleep`, then `exit`."""
    code = (
        b"\x48\x8d\x3d\x12\x00\x00\x00"  # lea rdi, [rip + 18]: the time, behind the code
        b"\x31\xf6\xb8\x23\x00\x00\x00\x0f\x05"  # xor esi, esi; mov eax, 35; syscall
        b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # mov eax, 60; xor edi, edi; syscall
    ) + struct.pack("<qq", seconds, 0)
    start = 64 + 56
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _ELF_AT + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = start + len(code)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, _ELF_AT, _ELF_AT, size, size, 0x1000) + code


def _pause_tar() -> bytes:
    buffer, program = io.BytesIO(), pause_program(LIFE_S)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo("pause")
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()
