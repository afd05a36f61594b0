"""Which GPUs this machine has: what NVIDIA's own program says of them, where the container toolkit is installed.

The engine's API tells only whether it could hand a GPU to a container (its runtime `nvidia`, or devices that it
discovered), not how many there are, nor of which kind.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

PROGRAM: Final = "nvidia-smi"
PATIENCE_S: Final = 10.0
#: Who makes it and for whom is not what people write into a constraint; nor is its memory, nor its form.
_MARKETING: Final = frozenset(("nvidia", "tesla", "geforce", "quadro", "graphics", "gpu", "device"))
_FORM: Final = re.compile(r"-(?:sxm\d*|pcie?|nvl|hbm\d\w*|\d+gb|\d+c|\d+q).*$|-\d+gb$")


def has_toolkit(info: Mapping[str, Any]) -> bool:
    """Tell from GET /info whether this engine can give GPUs to containers."""
    discovered = info.get("DiscoveredDevices") or ()
    return "nvidia" in (info.get("Runtimes") or {}) or any(
        str(device.get("ID", "")).startswith("nvidia.com/gpu") for device in discovered
    )


def model_of(name: str) -> str:
    """Make of a product's name what people write: of `NVIDIA A100-SXM4-40GB` it is `a100`."""
    words = [word for word in name.lower().split() if word not in _MARKETING]
    plain = _FORM.sub("", "-".join(words))
    return re.sub(r"[^a-z0-9-]+", "", plain).strip("-")


async def names(program: str = PROGRAM) -> Sequence[str] | None:
    """Return the product name of each GPU; None where the program is missing, fails or hangs."""
    command = (program, "--query-gpu=name", "--format=csv,noheader")
    try:
        running = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, _ = await running.communicate()
    except TimeoutError:
        running.kill()
        await running.wait()
        return None
    if running.returncode != 0:
        return None
    return [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]


def common_model(found: Sequence[str]) -> str:
    """Return the model that all of them are; empty where they differ."""
    models = {model_of(name) for name in found}
    return models.pop() if len(models) == 1 else ""
