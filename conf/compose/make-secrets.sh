#!/bin/sh
# First start of the Compose stack: make the passwords that its services share, once, in the volume /secrets.
set -eu
umask 027
secrets=/secrets
[ -e "$secrets/done" ] && exit 0

make() { python3 -c 'import secrets; print(secrets.token_urlsafe(32), end="")'; }
postgres=$(make) redis=$(make) nats=$(make) join=$(make)

install -d -m 0755 "$secrets/postgres" "$secrets/redis" "$secrets/nats" "$secrets/core" "$secrets/worker"
printf '%s' "$postgres" > "$secrets/postgres/password"
printf 'requirepass %s\nappendonly yes\nmaxmemory-policy noeviction\ndir /data\n' "$redis" > "$secrets/redis/redis.conf"
cat > "$secrets/nats/nats.conf" <<NATS
listen: "0.0.0.0:4222"
max_payload: 8MB
authorization { user: swarmsync, password: "$nats" }
NATS
printf 'postgresql://swarmsync:%s@postgres:5432/swarmsync' "$postgres" > "$secrets/core/database_url"
printf 'redis://:%s@redis:6379/0' "$redis" > "$secrets/core/redis_url"
printf 'nats://swarmsync:%s@nats:4222' "$nats" > "$secrets/core/nats_url"
printf '%s' "$join" > "$secrets/core/join_token"
cp "$secrets/core/nats_url" "$secrets/core/join_token" "$secrets/worker/"

# The servers' images run under users of their own and must read theirs; the rest is for Core (uid 10001) and root.
chmod 0644 "$secrets/postgres/password" "$secrets/redis/redis.conf" "$secrets/nats/nats.conf"
chown -R 10001:10001 "$secrets/core"
: > "$secrets/done"
