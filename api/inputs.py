"""What a job needs beside its spec when it is submitted: the secrets that it names, and leave for what it loosens."""

from collections.abc import Sequence

from api.endpoint import Call
from api.submissions import ERRORS_MAX
from swarmsync.errors import FieldError, SpecError
from swarmsync.model import policy
from swarmsync.model.files import secret_uses
from swarmsync.model.spec import JobSpec
from swarmsync.store import secrets


async def check_inputs(call: Call, specs: Sequence[tuple[str, JobSpec]]) -> None:
    """`specs` with their places in the request. Raises SpecError that names each thing that is not there."""
    await check_policies(call, specs)
    wanted = {use.name for _, spec in specs for use in secret_uses(spec.secrets)}
    if not wanted:
        return
    missing = wanted - await secrets.known(call.services.store, call.caller, sorted(wanted))
    errors = [
        FieldError(
            f"{root}.secrets[{index}]", f"there is no secret {use.name!r}; set it with consumer secret set {use.name}"
        )
        for root, spec in specs
        for index, use in enumerate(secret_uses(spec.secrets))
        if use.name in missing
    ]
    if errors:
        raise SpecError(errors[:ERRORS_MAX])


async def check_policies(call: Call, specs: Sequence[tuple[str, JobSpec]]) -> None:
    """Raise SpecError for what a spec loosens without an admin's leave, and for a profile that is demanded of it."""
    found = await call.services.policies()
    if not found and not any(policy.loosens(spec) for _, spec in specs):
        return
    user = found.get(("user", call.caller.username), policy.NOTHING)
    errors = [
        FieldError(root + path, sentence)
        for root, spec in specs
        for path, sentence in policy.refused(spec, user.with_(found.get(("queue", spec.queue), policy.NOTHING)))
    ]
    if errors:
        raise SpecError(errors[:ERRORS_MAX])
