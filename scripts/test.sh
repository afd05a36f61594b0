#!/usr/bin/env bash
# `make test`: every test. Brings up what they need, a Docker engine included, and takes down what it brought up.
# Without arguments three lanes run side by side: one computes, one drives whole Cores, one mostly waits for them.
set -uo pipefail
cd "$(dirname "$0")/.."

engine=""
if ! engine=$(scripts/docker-up.sh); then
    [ "${CI:-}" = "true" ] && exit 1
    echo "Going on without Docker: its tests will fail." >&2
fi
scratch=$(mktemp -d)
declare -A lanes=()
take_down() {
    for lane in "${lanes[@]}"; do kill -TERM "$lane" 2>/dev/null; done
    rm -rf "$scratch"
    [ -n "$engine" ] && kill -TERM "$engine" 2>/dev/null || return 0
    # It holds its pid file and socket until it has ended: whoever starts the next one must find them free.
    # (An engine whose parent is gone may stay a zombie, whose command line is empty.)
    for _ in $(seq 300); do
        grep -qsa dockerd "/proc/$engine/cmdline" || return 0
        sleep 0.1
    done
    echo "The Docker engine that this run started (process $engine) has not ended 30 s after it was told to." >&2
}
trap take_down EXIT

# The full-screen programs are driven in tmux, the dashboard in a headless Chromium; networks are made with ip.
needed="tmux:tmux chromium:chromium ip:iproute2 iptables:iptables cc:build-essential"
[[ " $* " == *" compose "* ]] && needed+=" docker-compose:docker-compose"
for pair in $needed; do
    program=${pair%%:*} package=${pair##*:}
    command -v "$program" >/dev/null && continue
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends "$package"; } >/dev/null 2>&1
    fi
    command -v "$program" >/dev/null && continue
    echo "There is no $program (apt-get install $package): the tests that use it will fail." >&2
    [ "${CI:-}" = "true" ] && exit 1
done

if [ $# -gt 0 ]; then
    .venv/bin/python -m pytest "$@"
    exit $?
fi

# The tests of whole Cores that run beside the others. Those that share the worker "e2e" (docker_core) stay together.
computes=(tests/unit tests/tidy tests/golden tests/simulation tests/integration)
waits=(bench_chaos dashboard dockerd_restarts documents failover foreign_tls json_logs kills namespaces nine_deaths
    sick_worker stopped_agent worker_upgrade)
waits=("${waits[@]/#/tests/e2e/test_}")
waits=("${waits[@]/%/.py}" tests/contract tests/process)

start() {
    local name=$1
    shift
    .venv/bin/python -m pytest --durations=15 "$@" >"$scratch/$name" 2>&1 &
    lanes[$name]=$!
}
# What is hot is tested compiled; where tests put parts of their own into it, interpreted; and the Scheduler as both, since
# a machine without a C compiler interprets it.
hot=(tests/unit/engine tests/unit/worker tests/unit/bench tests/simulation)
compute() {
    local worst=0
    trap 'kill -TERM "$now" 2>/dev/null; exit 1' TERM
    one() {
        .venv/bin/python -m pytest --durations=15 "$@" &
        now=$!
        wait "$now" || worst=$?
    }
    SWARMSYNC_TEST_COMPILED=must one "${hot[@]}"
    one -m "interpreted and not compose" "${hot[@]}"
    one tests/unit/engine/scheduler
    one "${computes[@]}" "${hot[@]/#/--ignore=}"
    return "$worst"
}
compute >"$scratch/computes" 2>&1 &
lanes[computes]=$!
start waits "${waits[@]}"
.venv/bin/python -m pytest --durations=40 tests/e2e "${waits[@]/#/--ignore=}"
code=$?
for name in waits computes; do
    wait "${lanes[$name]}" || code=$?
    unset "lanes[$name]"
    echo "The lane that $name:"
    cat "$scratch/$name"
done
exit "$code"
