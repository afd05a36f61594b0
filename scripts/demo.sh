#!/usr/bin/env bash
# `make run`: a whole Core on this machine, three real jobs through it, and a clean stop. Everything stays below var/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/var/demo
bin=$PWD/.venv/bin
export SWARMSYNC_DATA_DIR=$home/data XDG_CONFIG_HOME=$home/config
unset SWARMSYNC_URL SWARMSYNC_TOKEN SWARMSYNC_PROFILE
mkdir -p "$home"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
type_it() { printf '\n$ %s\n' "$*"; "$@"; }

if [ -z "${SWARMSYNC_API_PORT:-}" ]; then
    SWARMSYNC_API_PORT=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    export SWARMSYNC_API_PORT
fi

say "Docker"
if image=$("$bin/python" -m worker.demo_image 2>"$home/docker.txt"); then
    echo "A Docker engine answers; the demo image is $image, made from this machine's own binaries."
    export SWARMSYNC_WORKER_RUNTIME=docker
else
    image=swarmsync-demo
    echo "No Docker engine answers ($(head -c 200 "$home/docker.txt" | head -n 1))."
    echo "The jobs run as plain processes without isolation. For containers install and start Docker, then type make run again."
    export SWARMSYNC_WORKER_RUNTIME=process
fi

say "Starting Core (PostgreSQL, NATS, Valkey, the engine, the API, one worker)"
"$bin/swarmsyncd" >"$home/swarmsyncd.txt" 2>&1 &
core=$!
stop() {
    kill -TERM "$core" 2>/dev/null || true
    wait "$core" 2>/dev/null || true
}
trap stop EXIT
until grep -q "is up" "$home/swarmsyncd.txt"; do
    kill -0 "$core" 2>/dev/null || { cat "$home/swarmsyncd.txt"; exit 1; }
    sleep 0.1
done
cat "$home/swarmsyncd.txt"

consumer() { "$bin/consumer" "$@"; }
until consumer worker list -o json 2>/dev/null | grep -q '"ready"'; do sleep 0.1; done

say "1. A job that talks, its output followed live"
type_it consumer run "$image" sh -c 'for n in 1 2 3; do echo "hello $n from job $SWARMSYNC_JOB_ID"; sleep 0.3; done'

say "2. A job that fails: the shell gets its exit code, and SwarmSync knows why"
code=0
type_it consumer run --name broken "$image" sh -c 'echo out; echo err >&2; exit 3' || code=$?
echo "exit code: $code"
[ "$code" -eq 3 ]
type_it consumer job show last

say "3. An array of 20"
array=$(consumer job create --name array-of-20 --array 0-19 --cpus 0.5 "$image" sh -c 'echo "member $SWARMSYNC_ARRAY_INDEX of $SWARMSYNC_ARRAY_SIZE"')
printf '\n$ consumer job create --name array-of-20 --array 0-19 ...\n%s\n' "$array"
type_it consumer job wait --timeout 5m "$array"
type_it consumer job show "$array"
type_it consumer job logs "$array[7]"

say "What Core did"
type_it consumer job list
type_it consumer stats

say "Stopping Core"
trap - EXIT
kill -TERM "$core"
code=0
wait "$core" || code=$?
[ "$code" -eq 0 ] || { echo "swarmsyncd ended with $code"; exit 1; }
echo "Stopped. Everything it stored is in $home/data."

cat <<END

To keep a Core running:
  .venv/bin/swarmsyncd                                   (Ctrl-C stops it)
and in another terminal:
  .venv/bin/consumer run $image echo hello
END
