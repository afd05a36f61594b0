"""Every command of `consumer`: its name, its file, and its line in the help. Reading this imports nothing."""

from typing import Final, NamedTuple


class Verb(NamedTuple):
    """A command: `name` within the Typer app of `module`."""

    module: str
    name: str
    summary: str
    hidden: bool = False


class Noun(NamedTuple):
    """A group of commands about one kind of thing."""

    summary: str
    verbs: dict[str, Verb]


def _verbs(**files: dict[str, str]) -> dict[str, Verb]:
    return {
        verb: Verb(f"cli.commands.{file}", verb, summary)
        for file, commands in files.items()
        for verb, summary in commands.items()
    }


JOB: Final = Noun(
    "Submit, watch and change jobs.",
    _verbs(
        job_create={
            "create": "Submit jobs from a file or from flags; prints their ids.",
            "validate": "Check a spec and print it in full; changes nothing.",
            "schema": "Print the JSON Schema of a spec, for editors.",
        },
        job_plan={"plan": "Tell where and when a job would start; changes nothing."},
        job_from={
            "from-docker": "Make a spec of a docker run line.",
            "from-compose": "Make a spec of a service of a Compose file.",
        },
        job_list={"list": "List jobs, newest first."},
        job_show={
            "show": "Show one job with its attempts.",
            "why": "Explain why a job does not run yet.",
            "result": "Show how a job ended: exit code, times, usage, checksums.",
        },
        job_get={
            "get": "Download the files that a job left behind.",
            "verify": "Compare what is stored of a job with its checksums.",
        },
        job_logs={"logs": "Print or search what jobs wrote; -f goes on until the end."},
        job_wait={"wait": "Wait until jobs end."},
        job_change={
            "update": "Change name, labels, priority, time-out or queue.",
            "cancel": "Stop jobs gracefully, or take them out of the line.",
            "kill": "Stop jobs at once (SIGKILL).",
            "hold": "Park waiting jobs.",
            "release": "Let held jobs go on.",
            "rerun": "Submit the same spec again as a new job.",
            "delete": "Delete the records of finished jobs.",
        },
    ),
)
SCHEDULE: Final = Noun(
    "Make jobs at set times: cron, once at a time, after a delay.",
    _verbs(
        schedule_create={
            "create": "Make schedules from a file or from flags; prints their ids.",
            "preview": "Show the next fires of a rule, daylight saving included.",
        },
        schedule_list={
            "list": "List schedules with their next fire.",
            "show": "Show one schedule with its job.",
            "history": "Show what became of every due instant.",
        },
        schedule_change={
            "update": "Change rule, name or job.",
            "pause": "Fire no more until resumed.",
            "resume": "Let paused schedules fire again.",
            "trigger": "Make a job now; prints its id.",
            "delete": "Delete schedules; their jobs stay.",
        },
    ),
)
WORKER: Final = Noun(
    "See and manage the workers.",
    _verbs(
        worker={
            "list": "List workers.",
            "show": "Show one worker.",
            "register": "Make a join token for a new worker.",
            "update": "Set labels of a worker.",
            "delete": "Delete a worker that has no jobs.",
            "revoke": "Take a worker's key back.",
            "cordon": "Give a worker no new jobs.",
            "uncordon": "Let a worker take jobs again.",
            "drain": "Give a worker no new jobs and let its jobs end.",
        }
    ),
)
LOG: Final = Noun(
    "Read and write the system's log.",
    _verbs(
        log_read={
            "list": "List log records, newest first.",
            "search": "List log records that contain a text.",
            "follow": "Print log records as they come.",
            "show": "Show one log record.",
        },
        log_write={
            "record": "Write a log record.",
            "update": "Change a log record (operators).",
            "delete": "Delete log records (operators).",
        },
    ),
)
QUEUE: Final = Noun(
    "See and manage the queues.",
    _verbs(
        queue={
            "list": "List queues.",
            "show": "Show one queue with its limits.",
            "create": "Make a queue.",
            "update": "Change a queue's limits.",
            "delete": "Delete a queue without unfinished jobs.",
            "pause": "Start no more jobs of a queue.",
            "resume": "Let the jobs of a paused queue start again.",
        }
    ),
)
LIMIT: Final = Noun(
    "See who holds the slots of limits; limit users.",
    _verbs(
        limit={
            "list": "List limits with the slots that are held.",
            "show": "Show who holds the slots of a limit, and for how long.",
            "show-user": "Show how much a user may take at a time.",
            "set-user": "Change how much a user may take at a time.",
            "clear-user": "Take all limits of a user away.",
        }
    ),
)
REGISTRY: Final = Noun(
    "Logins of image registries (operators).",
    _verbs(
        registry={
            "add": "Set the login with which workers pull a registry's images.",
            "list": "List the registries that Core has a login for.",
            "remove": "Forget the login of a registry.",
        }
    ),
)
INSPECT: Final = Noun(
    "Watch jobs, workers and the engine live, or as they were.",
    _verbs(
        inspect={
            "jobs": "JobInspect: jobs, workers and assignments as they move.",
            "core": "CoreInspect: the engine's modules, their pulses and rings.",
        }
    ),
)
USER: Final = Noun(
    "Manage users (administrators); see yourself, change your password.",
    _verbs(
        user={
            "create": "Make a user.",
            "list": "List users.",
            "show": "Show one user.",
            "update": "Change role, disable, or set the password.",
            "passwd": "Change your own password.",
            "logout": "End every session of a user.",
            "delete": "Delete a user who owns nothing.",
        }
    ),
)
TOKEN: Final = Noun(
    "API tokens for programs, with scopes and an end.",
    _verbs(
        token={
            "create": "Make an API token and print it once.",
            "list": "List your API tokens.",
            "revoke": "End an API token.",
        }
    ),
)
KEY: Final = Noun(
    "Keys to log in with instead of a password.",
    _verbs(
        key={
            "create": "Make a key pair on this machine.",
            "add": "Let a key log in.",
            "list": "List your keys.",
            "remove": "Let a key log in no more.",
        }
    ),
)
SESSION: Final = Noun(
    "Where you are logged in.",
    _verbs(own_sessions={"list": "List your open sessions.", "end": "End one of your sessions."}),
)
AUDIT: Final = Noun(
    "Who did what to whom (administrators).",
    _verbs(audit={"list": "List the audit log, newest first.", "verify": "Check that nobody has touched it."}),
)
SECRET: Final = Noun(
    "Keep values that jobs may use and nobody can read.",
    _verbs(
        secret={
            "set": "Set or replace a secret; asks for it, or reads stdin or a file.",
            "list": "List your secrets: names and dates.",
            "delete": "Delete secrets.",
        }
    ),
)

WEBHOOK: Final = Noun(
    "Tell another program of your jobs' states.",
    _verbs(
        webhook={
            "create": "Make a webhook and print its signing key, this once.",
            "list": "List webhooks.",
            "show": "Show one webhook.",
            "update": "Change, switch off or on, or give it another key.",
            "delete": "Delete webhooks.",
            "deliveries": "List what a webhook was told, and what came of it.",
            "test": "Send a delivery that tells of nothing.",
            "replay": "Send deliveries again.",
        }
    ),
)
POLICY: Final = Noun(
    "Say what the jobs of a user or a queue may loosen (admins).",
    _verbs(policy={"list": "List policies.", "set": "Allow or demand something.", "delete": "Take a policy back."}),
)

CORE: Final = Noun("See which Cores there are.", _verbs(core={"list": "List the Cores of one database."}))

COMMANDS: Final[dict[str, Noun | Verb]] = {
    "run": Verb("cli.commands.run", "run", "Run a container to its end, as docker run does."),
    "job": JOB,
    "schedule": SCHEDULE,
    "worker": WORKER,
    "policy": POLICY,
    "core": CORE,
    "log": LOG,
    "queue": QUEUE,
    "limit": LIMIT,
    "registry": REGISTRY,
    "inspect": INSPECT,
    "user": USER,
    "token": TOKEN,
    "key": KEY,
    "session": SESSION,
    "audit": AUDIT,
    "secret": SECRET,
    "webhook": WEBHOOK,
    "main-menu": Verb("cli.commands.inspect", "main-menu", "Everything on one screen, by keyboard or mouse."),
    "doctor": Verb("cli.commands.doctor", "doctor", "Check everything that a user would have to check."),
    "stats": Verb("cli.commands.status", "stats", "Counts, rates and latencies."),
    "events": Verb("cli.commands.status", "events", "State changes as they happen."),
    "login": Verb("cli.commands.session", "login", "Log in and keep the token in the profile."),
    "logout": Verb("cli.commands.session", "logout", "Log out and forget the token."),
    "whoami": Verb("cli.commands.session", "whoami", "Show who is logged in, and where."),
    "ps": JOB.verbs["list"]._replace(summary="Same as job list."),
    "cron": SCHEDULE._replace(summary="Same as schedule."),
    "submit": JOB.verbs["create"]._replace(summary="Same as job create."),
}
