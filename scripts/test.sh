#!/usr/bin/env bash
# `make test`: every test. Brings up what they need, a Docker engine included, and takes down what it brought up.
set -uo pipefail
cd "$(dirname "$0")/.."

engine=""
if ! engine=$(scripts/docker-up.sh); then
    [ "${CI:-}" = "true" ] && exit 1
    echo "Going on without Docker: its tests will fail." >&2
fi
stop_engine() { [ -n "$engine" ] && kill -TERM "$engine" 2>/dev/null; }
trap stop_engine EXIT

# The full-screen programs are driven in tmux.
if ! command -v tmux >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends tmux; } >/dev/null 2>&1
    fi
    command -v tmux >/dev/null || echo "There is no tmux (apt-get install tmux): tests of the screens will fail." >&2
fi

.venv/bin/python -m pytest "$@"
code=$?
exit "$code"
