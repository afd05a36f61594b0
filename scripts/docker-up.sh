#!/usr/bin/env bash
# Make sure that a Docker engine answers, for the tests: use the one that runs, else install and start one (as root).
# Prints the process id of an engine that it started, so that the caller can stop it. Loud when it cannot.
set -uo pipefail

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
install_packages() {
    command -v apt-get >/dev/null || return 1
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1
}

if ! answers; then
    if [ "$(id -u)" -eq 0 ]; then
        command -v dockerd >/dev/null || install_packages docker.io
        if command -v dockerd >/dev/null; then
            # A killed engine leaves its pid file, and a process that has that number now would stop a new engine.
            pid=$(cat /var/run/docker.pid 2>/dev/null || echo 0)
            grep -qsa dockerd "/proc/$pid/cmdline" || rm -f /var/run/docker.pid  # a zombie has an empty one
            setsid dockerd --live-restore >/tmp/swarmsync-dockerd.log 2>&1 </dev/null &
            engine=$!
            for _ in $(seq 100); do answers && break; sleep 0.2; done
            answers && echo "$engine"
        fi
    fi
fi
# The tests of registries run one of their own on loopback.
command -v docker-registry >/dev/null || { [ "$(id -u)" -eq 0 ] && install_packages docker-registry; }
if ! answers; then
    {
        echo "=================================================================="
        echo " No Docker engine answers, and none could be started here."
        echo " The tests that run real containers will FAIL. Install Docker"
        echo " (package docker.io), start it, and run make test again."
        echo "=================================================================="
    } >&2
    exit 1
fi
command -v busybox >/dev/null || { [ "$(id -u)" -eq 0 ] && install_packages busybox-static; } || true
exit 0
