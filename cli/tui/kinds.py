"""The lists of the menu as data: where each comes from, what can be done to entries, and by which command. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from cli.commands import job_list, log_read, schedule_list, worker
from cli.output import Column


class Action(Struct, frozen=True):
    """What a key does to the chosen entry; `path` follows the entry's own. `command` is the same for the shell."""

    label: str
    path: str
    command: str
    method: Literal["POST", "DELETE"] = "POST"
    asks: bool = False  # for a yes first
    makes_a_job: bool = False  # which the answer is


class Kind(Struct, frozen=True):
    """One list. `views` are queries to go through; the first is the usual one."""

    name: str
    title: str
    path: str
    command: str
    columns: Sequence[Column]
    views: Mapping[str, Mapping[str, str]]
    actions: Mapping[str, Action] = {}
    field: str = "id"  # what names an entry in a path
    form: Literal["", "job", "schedule"] = ""
    flag: str = ""  # how the command asks for a view
    filters: Sequence[str] = ()  # what Core filters by, typed as name=value


JOBS: Final = Kind(
    "jobs",
    "Jobs",
    "/v1/jobs",
    "consumer job list",
    job_list.COLUMNS,
    {"all": {}, "active": {"state": "active"}, "waiting": {"state": "waiting"}, "finished": {"state": "finished"}}
    | {"failed": {"state": "failed"}},
    {
        "c": Action("cancel", "cancel", "consumer job cancel", asks=True),
        "K": Action("kill", "kill", "consumer job kill", asks=True),
        "h": Action("hold", "hold", "consumer job hold"),
        "u": Action("release", "release", "consumer job release"),
        "r": Action("rerun", "rerun", "consumer job rerun", makes_a_job=True),
    },
    form="job",
    flag="--state",
    filters=("user", "name", "label", "queue", "worker", "since"),
)


def members_of(array: str) -> Kind:
    """The members of an array, which the list of jobs leaves out."""
    views = {name: {"array": array, **query} for name, query in JOBS.views.items()}
    command = f"{JOBS.command} --array {array}"
    return replace(JOBS, title=f"Members of {array}", command=command, views=views, form="")


WORKERS: Final = Kind(
    "workers",
    "Workers",
    "/v1/workers",
    "consumer worker list",
    worker.COLUMNS,
    {"all": {}},
    {
        "c": Action("cordon", "cordon", "consumer worker cordon"),
        "u": Action("uncordon", "uncordon", "consumer worker uncordon"),
        "d": Action("drain", "drain", "consumer worker drain", asks=True),
    },
    field="name",
)
SCHEDULES: Final = Kind(
    "schedules",
    "Schedules",
    "/v1/schedules",
    "consumer schedule list",
    schedule_list.COLUMNS,
    {"all": {}, "active": {"paused": "false"}, "paused": {"paused": "true"}},
    {
        "p": Action("pause", "pause", "consumer schedule pause"),
        "u": Action("resume", "resume", "consumer schedule resume"),
        "t": Action("trigger", "trigger", "consumer schedule trigger", makes_a_job=True),
        "D": Action("delete", "", "consumer schedule delete", method="DELETE", asks=True),
    },
    form="schedule",
    flag="--",
)
LOGS: Final = Kind(
    "logs",
    "Logs",
    "/v1/logs",
    "consumer log list",
    log_read.COLUMNS,
    {"debug": {"level": "debug"}, "info": {"level": "info"}, "warning": {"level": "warning"}}
    | {"error": {"level": "error"}},
    {"D": Action("delete", "", "consumer log delete", method="DELETE", asks=True)},
    flag="--level",
    filters=("source", "job", "since"),
)
KINDS: Final = (JOBS, WORKERS, SCHEDULES, LOGS)
