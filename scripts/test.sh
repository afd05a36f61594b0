#!/usr/bin/env bash
# `make test`: every test. Brings up what they need, a Docker engine included, and takes down what it brought up.
# Without arguments two lanes run side by side: one mostly waits for whole Cores and containers, the other computes.
set -uo pipefail
cd "$(dirname "$0")/.."

engine=""
if ! engine=$(scripts/docker-up.sh); then
    [ "${CI:-}" = "true" ] && exit 1
    echo "Going on without Docker: its tests will fail." >&2
fi
scratch=$(mktemp -d)
lane=""
take_down() {
    [ -n "$lane" ] && kill -TERM "$lane" 2>/dev/null
    [ -n "$engine" ] && kill -TERM "$engine" 2>/dev/null
    rm -rf "$scratch"
}
trap take_down EXIT

# The full-screen programs are driven in tmux.
if ! command -v tmux >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends tmux; } >/dev/null 2>&1
    fi
    command -v tmux >/dev/null || echo "There is no tmux (apt-get install tmux): tests of the screens will fail." >&2
fi

# The dashboard is driven in a headless Chromium.
if ! command -v chromium >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1
    fi
    if ! command -v chromium >/dev/null; then
        echo "There is no chromium (apt-get install chromium): tests of the dashboard will fail." >&2
        [ "${CI:-}" = "true" ] && exit 1
    fi
fi

if [ $# -gt 0 ]; then
    .venv/bin/python -m pytest "$@"
    exit $?
fi

.venv/bin/python -m pytest tests/unit tests/tidy tests/golden tests/simulation tests/integration tests/contract tests/process >"$scratch/lane" 2>&1 &
lane=$!
.venv/bin/python -m pytest tests/e2e
code=$?
wait "$lane" || code=$?
lane=""
echo "The other lane:"
cat "$scratch/lane"
exit "$code"
