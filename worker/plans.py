"""From a spec to a container's plan. Pure. The spec may only ask; what is allowed was decided before it came here."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from swarmsync import ids
from swarmsync.model.job import JobRef
from swarmsync.model.policy import bare_capability
from swarmsync.model.registries import RegistryLogin, login_for
from swarmsync.model.spec import JobSpec, VolumeSpec, read_volume
from swarmsync.protocol.messages import RunJob
from worker.container_runtime import ContainerPlan, Mount, RegistryAuth, SecretFile
from worker.terms import Terms, write_terms


def model_of(spec: JobSpec, terms: Terms, *, worker: str, session: str) -> ContainerPlan:
    """Return what all containers of this spec on these terms have in common: a plan for no job yet."""
    return ContainerPlan(
        job="",
        attempt=0,
        fence=0,
        session=session,
        image=spec.image,
        entrypoint=tuple(spec.entrypoint) if spec.entrypoint is not None else None,
        command=tuple(spec.command) if spec.command is not None else None,
        environment={**spec.environment, "SWARMSYNC_WORKER": worker},
        working_dir=spec.working_dir,
        user=spec.user,
        init=spec.init,
        mounts=tuple([_mount(read_volume(volume)) for volume in spec.volumes]),
        network=spec.network,
        cpus_milli=terms.need.cpus_milli,
        memory_bytes=terms.need.memory_bytes,
        pids_max=spec.resources.pids,
        gpus=terms.need.gpus,
        disk_bytes=terms.need.disk_bytes or None,
        stop_signal=terms.stop_signal,
        stop_grace_s=terms.grace_ms / 1000,
        strict=spec.security.profile == "strict",
        read_only_root=spec.security.read_only or spec.security.profile == "strict",
        capabilities=tuple([bare_capability(name) for name in spec.security.capabilities]),
        devices=spec.security.devices,
        privileged=spec.security.privileged,
        note=write_terms(terms),
    )


def plan_of(
    model: ContainerPlan, order: RunJob, logins: Mapping[str, RegistryLogin] = MappingProxyType({})
) -> ContainerPlan:
    """Return the container that runs this assignment."""
    image, fence = order.image or model.image, order.ref.fence
    login = login_for(image, logins) if logins else None
    job = ids.encode(order.ref.job_id)
    return msgspec.structs.replace(
        model,
        job=job,
        attempt=fence,
        fence=fence,
        image=image,
        environment=_environment(model, job, order),
        secrets=tuple([SecretFile(secret.name, secret.value, secret.env) for secret in order.secrets])
        if order.secrets
        else (),
        user_id=order.user_id,
        registry_auth=None if login is None else RegistryAuth(login.username, login.password),
    )


def _environment(model: ContainerPlan, job: str, order: RunJob) -> dict[str, str]:
    """The contract's variables; they win over the spec's."""
    fence = str(order.ref.fence)
    names = {
        **model.environment,
        "SWARMSYNC_JOB_ID": job,
        "SWARMSYNC_JOB_NAME": order.name,
        "SWARMSYNC_ATTEMPT": fence,
        "SWARMSYNC_FENCE": fence,
    }
    if order.array_index is not None:
        names["SWARMSYNC_ARRAY_INDEX"] = str(order.array_index)
        names["SWARMSYNC_ARRAY_SIZE"] = str(order.array_size)
    return names


def _mount(volume: VolumeSpec) -> Mount:
    return Mount(volume.type, volume.source, volume.target, volume.read_only, volume.size)


def ref_of(job: str, fence: int) -> JobRef | None:
    """Return the assignment that a container's labels name; None for labels that are not ours."""
    number = ids.decode(job)
    return None if number is None else JobRef(number, fence)
