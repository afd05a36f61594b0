"""Lines that are typed at a real Core by test_every_command.py, each with its exit code."""

#: Flags that all specs have; with them a job fits no worker of this Core, so it waits.
SPEC = (
    "-e A=1 --env-file {dir}/env -v cache:/cache -w /w -u 1000 --cpus 0.1 -m 32m --pids-limit 9 --gpus 1 --network none"
    " --timeout 1h --retries 1 --priority 9 --queue table -l team=table --constraint 'worker.name == nobody'"
    " --entrypoint sh --stop-signal SIGINT --stop-grace 1s --no-init"
)
RULE = "--tz Europe/Berlin --overlap skip --misfire last --misfire-window 1h --jitter 1m --start 2026-01-01T00:00:00Z"
RULE += " --end 2099-01-01T00:00:00Z"
#: Exit code, line; `> name` keeps what was printed, `{name}` stands for it; `<` is standard input.
LINES = """
0 login --url {url} --username admin --password-stdin < {password}
4 login --url {url} --username admin --password-stdin < wrong
2 login --url {url}
0 whoami
0 queue create table --max-running 3 --max-running-per-user 2 --max-waiting 50 --max-cpus 4 --max-memory 8GiB --placement spread --weight 2 --paused
5 queue create table
0 queue resume table
0 queue pause table
0 queue resume table
0 queue update table --max-running none --max-running-per-user none --max-waiting 60 --max-cpus none --max-memory none --placement pack --weight 3
2 queue update table
0 queue create brief -o json
0 queue update brief --weight 3 -o json
0 queue delete -y brief
0 queue show table
3 queue show nothing
0 user create ann --role user --password-stdin < a long password of ann 1
0 user create bot --no-password -o json
2 user create eve
0 user show ann
3 user show nobody
0 user update ann --role operator
0 user update ann --disable
0 user update ann --enable -o json
0 user update ann --password-stdin < another password of ann 2
2 user update ann --set-password
2 user passwd
0 user logout ann
0 token create t1 --scope jobs:read --days 3 --user ann
0 token create t2 --scope '*' -o json
0 token revoke t2
0 key create --file {dir}/key
0 key add laptop --file {dir}/key.pub --password-stdin < {password}
2 key add other --file {dir}/key.pub --user ann
0 login --url {url} --username admin --key {dir}/key
0 key remove laptop
0 key add laptop --file {dir}/key.pub --password-stdin -o json < {password}
0 key remove laptop
3 key remove laptop
0 secret set pw < value
0 secret set pw --from-file {dir}/env
2 secret set empty
0 secret delete pw -y
3 secret delete pw
0 webhook create https://hooks.example/x -s failed --queue table -l team=table -o name > hook
2 webhook create https://hooks.example/x --state nonsense --name x
0 webhook show {hook}
0 webhook show {hook} -o json
0 webhook create https://hooks.example/z -o json
0 webhook update {hook} --url https://hooks.example/y --state failed --queue none --name 'etl-*' --label none --off
0 webhook update {hook} --on --new-secret -o json
0 webhook test {hook} -o json
0 webhook test {hook} > told
0 webhook replay {told}
0 webhook deliveries {hook} --state waiting --columns id -q --no-headers --limit 1 --cursor 0zzzzzzzzzzzz
0 webhook delete -y {hook}
3 webhook show {hook}
0 registry add -u me --password-stdin r.example:5000 < pass
0 registry remove r.example:5000
0 policy set user ann --path /srv/data:ro --capability SYS_PTRACE --device /dev/null --machine-network --privileged --strict
0 policy delete user ann
0 limit set-user ann --max-running 5 --max-cpus 4 --max-memory 8GiB --max-gpus 1 --weight 2
0 limit set-user ann --max-running 6 -o json
0 limit show-user ann
0 limit clear-user ann
0 limit show table --kind queue
0 run --name done -l team=table --cpus 0.1 -m 16m i sh -c 'echo out; echo err >&2'
3 run --name fails --cpus 0.1 -m 16m i sh -c 'exit 3'
0 run --rm --cpus 0.1 -m 16m i true
125 run --cpus nonsense i true
125 run -i -t i sh
0 run -d {spec} --name waits i true > waits
0 job create {spec} --name later --run-at {soon} i true > later
0 job create {spec} --delay 1h --after {waits} --array 0-3 --name arr i true > arr
0 job create -f {dir}/job.yaml > filed
0 job create -f {dir}/job.yaml -o json
0 submit {spec} --delay 1h --array 0-1 -o json i true
0 submit {spec} --delay 1h --after {waits} --array 0-1 i true > second
0 submit {spec} --run-at {soon} i true
0 submit -f - --name renamed < {{image: i, delay: 1h}}
2 job create -f - < {{imge: i}}
0 job validate {spec} --name v --array 0-3 --delay 1h --after {waits} i true
0 job validate {spec} --run-at {soon} i true
0 job validate -f {dir}/job.yaml
0 job schema
8 job plan {spec} --name p --delay 1h --array 0-1 --after {waits} i true
8 job plan {spec} --run-at {soon} i true
0 job plan -f {dir}/small.yaml
0 job from-docker docker run -e A=1 i true
0 job from-docker -o json docker run -e A=1 i true
1 job from-docker docker run -p 80:80 i true
0 job from-compose {dir}/compose.yaml report
0 job from-compose -o json {dir}/compose.yaml report
0 job show @done
0 job show last
3 job show zzzzzzzzzzzzz
2 job show 0an
0 job why @waits
0 job result @done
0 job verify @done
3 job get @done nothing
3 job get @done -o {dir}/got
3 job get --tar @done nothing
0 job logs @done
0 job logs -f --tail 1 --since 1h --attempt 1 --stdout @done
0 job logs --stderr -t @done
0 job logs --grep ou. -l team=table --name done -s finished -u admin --limit 5
0 job logs --grep nothing-like-it --queue default
0 job wait -q @done
1 job wait @fails
3 job wait --exit-code @fails
0 job wait --any @done {waits}
7 job wait --timeout 0s {waits}
0 job update {waits} --name waited --priority 3 --timeout 2h --queue default -l a=b
0 job update {waits} --priority 4 -o json
0 job hold {waits}
0 job release {waits}
0 job rerun @fails > again
1 job wait {again}
0 job rerun --failed @fails
0 job cancel {waits} --reason enough --wait -y
5 job cancel {waits}
0 job kill -y {later}
0 job delete -y {later}
0 job delete {arr}
0 job list --all --user admin --queue default --name done -l team=table --since 1h
0 job list -s failed --worker w1
0 job list --array {arr}
2 job list --state nonsense
0 ps --all --user admin --queue table --name arr -l team=table --since 1h
0 ps -s active --worker w1
0 ps --array {arr}
0 schedule create {rule} --cron '0 3 * * *' {spec} --name nightly i true > nightly
0 schedule create --at 2099-01-01T00:00:00Z --name once i true
0 cron create --delay 9h --name delayed i true
0 schedule create -f {dir}/schedule.yaml
0 schedule create --cron @daily --name daily -o json i true
0 schedule update daily --cron '0 5 * * *' -o json
5 schedule create --cron @daily --name nightly i true
2 schedule create --cron 'not a rule' --name wrong i true
0 schedule preview {rule} --cron 'H 2 * * *' --name x -n 2 --from 2026-11-01T00:00:00Z
0 schedule preview --at 2099-01-01T00:00:00Z
0 cron preview --delay 1h
0 schedule preview -f {dir}/schedule.yaml
0 schedule list --name nightly --active --user admin
0 schedule list --paused
0 schedule show nightly
3 schedule show nothing
0 schedule update nightly {rule} --cron '0 4 * * *' {spec} --image j
0 schedule update nightly --name nightly2
2 schedule update nightly2 --at 2099-01-01T00:00:00Z
0 schedule update once --at 2099-02-01T00:00:00Z
0 schedule update once --delay 9h
0 schedule update nightly2 -f {dir}/change.yaml
0 schedule pause nightly2
0 schedule resume nightly2
0 schedule trigger nightly2
0 schedule history nightly2
0 cron list
0 schedule delete -y nightly2 once delayed filed
0 job list --schedule {nightly}
0 ps --schedule {nightly}
0 worker register --name w9 --minutes 5
0 worker register --name w9 -o json
0 worker show w1
3 worker show nothing
0 worker update w1 -l zone=eu
0 worker list -l zone=eu
0 worker cordon w1
0 worker uncordon w1
0 worker drain w1 --deadline 1m --wait
0 worker uncordon w1
5 worker delete -y w1
3 worker delete -y nothing
3 worker revoke -y nothing
0 log record 'replaced a disk' --level warning --source shelf --job @done > record
0 log show {record}
0 log show {record} -o json
0 log record 'replaced a fan' -o json
0 log update {record} --message 'replaced both' --level error
0 log update {record} --level warning -o json
0 log list --source shelf --level error --job @done --since 1h --text both
0 log search replaced --source shelf --level error --job @done --since 1h
0 log delete {record}
3 log show {record}
0 inspect jobs --snapshot -u admin -s active --queue default --worker w1 --text x
0 inspect jobs --snapshot --at -1s
2 inspect jobs --speed 0
0 inspect core --snapshot
0 stats
0 events --job @done
0 events --job @done -o jsonl
0 events --job @done -o json
0 doctor
2 main-menu
0 audit list --user admin --action 'queue deleted' --since 1h
0 audit verify
1 audit verify --head 1:{zeros}
0 limit list --kind queue
0 session list
0 core list
3 session end 0123456789abcdef
0 user delete -y bot
2 nonsense
2 job nonsense
2 job show
0 logout
4 whoami
0 --version
"""

#: Every list is typed in each of these ways; the words in front of them are what the list needs.
LISTS = {
    "job list": "", "ps": "", "schedule list": "", "schedule history": "nightly2", "worker list": "", "log list": "",
    "log search": "worker", "queue list": "", "secret list": "", "webhook list": "", "user list": "", "token list": "", "key list": "",
    "registry list": "", "policy list": "", "limit list": "", "limit show": "table --kind queue", "session list": "",
    "audit list": "", "core list": "",
}  # fmt: skip
FORMS = ("-o wide", "-o yaml", "-o name", "-o jsonl", "-q", "--no-headers", "--limit 1")
#: What shows one thing, and what it needs.
ONES = {
    "job show": "@done", "job result": "@done", "job why": "@done", "job verify": "@done", "schedule show": "nightly2",
    "worker show": "w1", "queue show": "table", "user show": "ann", "limit show-user": "ann", "whoami": "", "stats": "",
    "doctor": "", "audit verify": "", "job validate": "i true", "job plan": "i true", "schedule preview": "--delay 1h",
    "inspect core": "--snapshot", "inspect jobs": "--snapshot",
}  # fmt: skip
#: Typed elsewhere: they go on until they are interrupted.
#: Printing is the same code for all, and typed for those above.
SHOWN_BY_ALL = {"output"}
ELSEWHERE = {
    "login": {"ca"},
    "log follow": {"source", "level", "job", "since", "output"},
    "events": {"follow"},
    "stats": {"watch"},
    "webhook deliveries": {"watch"},  # as of every list: queue list --watch
}
#: What a command prints with `-o json` (a line of `-o jsonl` for lists): the name of a published schema.
PRINTS = {
    "job create": "JobDocument|JobIds", "job validate": "JobSpec|Specs", "job plan": "PlanDocument|Plans", "job from-docker": "JobSpec",
    "job from-compose": "JobSpec", "job list": "ListedJob", "job show": "JobDocument", "job why": "WhyDocument",
    "job result": "JobResult", "job verify": "Findings", "job update": "JobDocument",
    "schedule create": "ScheduleDocument", "schedule preview": "PreviewDocument", "schedule list": "ScheduleDocument",
    "schedule show": "ScheduleDocument", "schedule history": "FireDocument", "schedule update": "ScheduleDocument",
    "worker list": "WorkerDocument", "worker show": "WorkerDocument", "worker register": "JoinToken",
    "policy list": "PolicyDocument", "core list": "CoreDocument", "log list": "LogRecord", "log search": "LogRecord",
    "log follow": "LogRecord", "log show": "LogRecord", "log record": "LogRecord", "log update": "LogRecord",
    "queue list": "QueueDocument", "queue show": "QueueDocument", "queue create": "QueueDocument", "queue update": "QueueDocument",
    "limit list": "LimitDocument", "limit show": "Holder", "limit show-user": "UserLimitsDocument",
    "limit set-user": "UserLimitsDocument", "registry list": "LoginDocument", "inspect jobs": "Board",
    "inspect core": "CoreFigures", "user create": "UserDocument", "user list": "UserDocument",
    "user show": "UserDocument", "user update": "UserDocument", "token create": "TokenDocument", "token list": "TokenDocument",
    "key add": "KeyDocument", "key list": "KeyDocument", "session list": "SessionDocument", "audit list": "AuditEntry",
    "audit verify": "AuditVerdict", "secret list": "SecretDocument", "webhook create": "WebhookDocument",
    "webhook list": "WebhookDocument", "webhook show": "WebhookDocument", "webhook update": "WebhookDocument",
    "webhook deliveries": "DeliveryDocument", "webhook test": "DeliveryDocument", "doctor": "Checkup", "stats": "StatsDocument",
    "events": "JobEvent", "whoami": "Who",
}  # fmt: skip
ALIASES = {"ps": "job list", "submit": "job create"}
