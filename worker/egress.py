"""Closes the way from containers to the link-local addresses, where clouds tell a machine its own credentials.

Docker keeps the chain DOCKER-USER for such rules (Docker manual, "Packet filtering and firewalls"). The rule is one for
the machine, is set once however many workers run, and stays: it also holds for containers that outlive the worker.
"""

import asyncio
import shutil
from typing import Final

LINK_LOCAL: Final = "169.254.0.0/16"
_RULE: Final = ("DOCKER-USER", "-d", LINK_LOCAL, "-j", "REJECT")
_TIMEOUT_S: Final = 10.0


async def close_link_local() -> str | None:
    """Set the rule where it is not set; return a warning where that is not possible."""
    iptables = shutil.which("iptables") or shutil.which("iptables", path="/usr/sbin:/sbin")
    failed = f"jobs on the bridge network can reach {LINK_LOCAL} (a cloud's metadata service): "
    if iptables is None:
        return failed + "iptables is not installed"
    if await _run(iptables, "-C") == 0:
        return None
    code = await _run(iptables, "-I")
    return None if code == 0 else f"{failed}iptables -I {' '.join(_RULE)} ended with {code}; run it as root"


async def _run(iptables: str, verb: str) -> int:
    process = await asyncio.create_subprocess_exec(
        iptables,
        "-w",
        "5",
        verb,
        *_RULE,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await asyncio.wait_for(process.wait(), _TIMEOUT_S)
    except TimeoutError:
        process.kill()
        return await process.wait()
