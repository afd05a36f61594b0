"""From a ContainerPlan to what the shim of a plain process is told. Pure."""

import re
from typing import Any, Final

from worker.container_runtime import ContainerPlan

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def refusal(plan: ContainerPlan) -> str | None:
    """Say why this plan cannot run as a plain process, or None."""
    if not _NAME.fullmatch(plan.name) or not all(_NAME.fullmatch(secret.name) for secret in plan.secrets):
        return "a name of this job is not fit for a file"
    if any(secret.env is not None and secret.text is None for secret in plan.secrets):
        return "a secret that is to be a variable is no text; use it as a file"
    if plan.mounts:
        return "plain processes have no volumes; run this job on a worker with Docker"
    if plan.gpus:
        return "plain processes are given no gpus; run this job on a worker with Docker"
    if not plan.entrypoint and not plan.command:
        return "plain processes have no image that would name a command; give one"
    return None


def order(plan: ContainerPlan, directory: str) -> dict[str, Any]:
    """What the shim is told. Secrets that are files lie where SWARMSYNC_SECRETS_DIR says, not in /run/secrets."""
    user, _, group = (plan.user or "").partition(":")
    secrets = {secret.env: secret.text for secret in plan.secrets if secret.env is not None}
    own = {"PATH": _PATH, "HOME": f"{directory}/work", "SWARMSYNC_SECRETS_DIR": f"{directory}/secrets"}
    return {
        "argv": [*(plan.entrypoint or ()), *(plan.command or ())],
        "environment": own | plan.environment | secrets,
        "working_dir": plan.working_dir or ("/" if user else f"{directory}/work"),
        "user": _number_or_name(user),
        "group": _number_or_name(group),
    }


def _number_or_name(text: str) -> int | str | None:
    return int(text) if text.isdigit() else text or None
