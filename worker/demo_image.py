"""A small image made of this machine's own programs, for where no registry can be reached.

With busybox on the machine it is busybox and its applets; else a handful of ordinary commands. Each with the libraries
that ldd names, so that a static busybox (package busybox-static) makes the smallest image: about 2 MB.
"""

import asyncio
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from worker.docker_config import image_path, pull_query
from worker.docker_engine import DockerEngine, EngineAway

TAG: Final = "swarmsync-demo:latest"
LABEL_CONTENT: Final = "swarmsync.demo"
#: Copied where there is no busybox; what the machine lacks is left out, but for sh.
COMMANDS: Final = (
    "sh", "bash", "echo", "sleep", "cat", "true", "false", "seq", "date", "head", "tail", "env", "printf", "ls", "id",
    "dd", "mkdir", "rm", "kill", "tr", "wc", "sort", "sha256sum", "hostname", "nproc", "yes", "test", "touch", "pwd",
)  # fmt: skip
_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_FILES: Final = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}
_DIRECTORIES: Final = {"bin": 0o755, "etc": 0o755, "root": 0o700, "run": 0o755, "tmp": 0o1777, "work": 0o755}
_LDD_LIBRARY: Final = re.compile(r"(/\S+) \(0x[0-9a-f]+\)")


class NoDemoImage(Exception):
    """The machine lacks what the image is made of, or the engine refused it."""


async def ensure_demo_image(url: str | None = None, tag: str = TAG, more: Iterable[str] = ()) -> str:
    """Import the image unless the engine has this very one; return its id. Raises NoDemoImage, EngineAway.

    `more` names commands of this machine that it is to have beside what every demo image has.
    """
    tar = build_tar(more)
    content = hashlib.sha256(tar).hexdigest()
    engine = DockerEngine(url)
    await engine.open()
    try:
        path = f"/images/{image_path(tag)}/json"
        present = await engine.call("GET", path)
        if present.ok and (present.document["Config"].get("Labels") or {}).get(LABEL_CONTENT) == content:
            return str(present.document["Id"])
        name = pull_query(tag)
        query = {"fromSrc": "-", "repo": name["fromImage"], "tag": name["tag"]}
        changes = ('CMD ["sh"]', "ENV PATH=/bin", f"LABEL {LABEL_CONTENT}={content}")
        imported = await engine.call(
            "POST", "/images/create", [*query.items(), *(("changes", change) for change in changes)], data=tar
        )
        present = await engine.call("GET", path)
        if not imported.ok or not present.ok:
            raise NoDemoImage(f"Docker did not import {tag}: {imported.body.decode(errors='replace')[:300]}")
        return str(present.document["Id"])
    finally:
        await engine.close()


def build_tar(more: Iterable[str] = ()) -> bytes:
    """The image's file system; the same programs give the same bytes. Blocks for some milliseconds."""
    busybox = shutil.which("busybox", path=_SEARCH_PATH)
    found = {
        command: shutil.which(command, path=_SEARCH_PATH) for command in (*(COMMANDS if not busybox else ()), *more)
    }
    programs = {f"bin/{command}": Path(path) for command, path in found.items() if path is not None}
    links: list[str] = []
    if busybox is not None:
        links = [applet for applet in _applets(busybox) if f"bin/{applet}" not in programs]
        programs["bin/busybox"] = Path(busybox)
    if busybox is None and "bin/sh" not in programs:
        raise NoDemoImage("this machine has neither busybox nor sh")
    for library in sorted({library for program in programs.values() for library in _libraries(program)}):
        programs[library.lstrip("/")] = Path(library)
    return _tar(programs, links)


def _applets(busybox: str) -> list[str]:
    return sorted(set(_output(busybox, "--list").split()) - {"busybox"})


def _libraries(program: Path) -> Iterator[str]:
    """Paths of the shared libraries and the loader; none for a static program (ldd then fails) or a script."""
    yield from _LDD_LIBRARY.findall(_output("ldd", str(program)))


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 local programs
    return done.stdout if done.returncode == 0 else ""


def _tar(programs: dict[str, Path], links: Iterable[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, mode in sorted(_DIRECTORIES.items()):
            tar.addfile(_entry(name, mode, kind=tarfile.DIRTYPE))
        for name, content in sorted(_FILES.items()):
            tar.addfile(_entry(name, 0o644, size=len(content)), io.BytesIO(content))
        for name, path in sorted(programs.items()):
            content = path.read_bytes()
            tar.addfile(_entry(name, 0o755, size=len(content)), io.BytesIO(content))
        for name in links:
            tar.addfile(_entry(f"bin/{name}", 0o777, kind=tarfile.SYMTYPE, target="busybox"))
    return buffer.getvalue()


def _entry(name: str, mode: int, *, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """All entries belong to root and to the year 1970, so that equal programs make an equal tar."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size, entry.type, entry.linkname = mode, size, kind, target
    return entry


def main() -> None:
    """Make the image and print its name: `python -m worker.demo_image`."""
    try:
        asyncio.run(ensure_demo_image())
    except (NoDemoImage, EngineAway) as problem:
        sys.stderr.write(f"{problem}\n")
        raise SystemExit(1) from None
    sys.stdout.write(f"{TAG}\n")


if __name__ == "__main__":
    main()
