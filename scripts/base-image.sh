#!/usr/bin/env bash
# Make a base image of Debian's packages, for places that reach no image registry: scripts/base-image.sh TAG [PACKAGE...]
# Needs root, debootstrap (installed when missing) and a Docker engine.
set -euo pipefail
tag=$1
shift
packages=python3,python3-venv,ca-certificates
for package in "$@"; do packages+=,$package; done

docker image inspect "$tag" >/dev/null 2>&1 && exit 0
command -v debootstrap >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap; } >/dev/null
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
. /etc/os-release
mirror=$(sed -nE 's/^(deb|URIs:)[[:space:]]+(\[[^]]*\][[:space:]]+)?([a-z]+:[^[:space:]]+).*/\3/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
echo "Making the image $tag of Debian's packages ..." >&2
debootstrap --variant=minbase --include="$packages" "$VERSION_CODENAME" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 \
    || { tail -n 20 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root.log"
tar -C "$root" --one-file-system -c . | docker import --change 'CMD ["/bin/sh"]' - "$tag" >/dev/null
