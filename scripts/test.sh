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

.venv/bin/python -m pytest "$@"
code=$?
exit "$code"
