#!/usr/bin/env bash
# Starts `larder serve` in production, with sizes that fit this machine: scripts/start-production.sh [FLAGS of larder serve]
#
# Secrets come from the environment, from .env, from larder.toml or from files (JWT_SECRET_FILE=…); without them it does not start. What is set anywhere is
# left as it is: `larder config` is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'start-production: %s\n' "$*" >&2; exit 2; }

larder=${LARDER:-$(command -v larder || true)}
for candidate in target/dist/larder target/release/larder; do
    [ -z "$larder" ] && [ -x "$candidate" ] && larder=$candidate
done
[ -n "$larder" ] || fail 'the program is missing: cargo build --profile dist --bin larder'

# Every setting with its value and its source, a line each; in development, where nothing is required. What is wrong is said by the program.
settings=$(ENV=development "$larder" config "$@" 2>&1) || { printf '%s\n' "$settings" >&2; exit 2; }

# Whether somebody has set a variable.
is_set() { awk -v name="$1" '$1 == name && $NF != "default" { found = 1 } END { exit !found }' <<<"$settings"; }

is_set JWT_SECRET || fail 'JWT_SECRET is missing: make one with `openssl rand -hex 32` and put it into .env (mode 600), or name a file: JWT_SECRET_FILE=…'
is_set DATABASE_URL || fail 'DATABASE_URL is missing: postgres://user:password@host/database, or sqlite:///var/lib/larder/larder.db for a single server'
is_set REDIS_URL || printf 'start-production: without REDIS_URL every server has a cache of its own, and knows nothing of what others change: run one only\n' >&2
if [ -f .env ] && [ -n "$(find .env -perm /077)" ]; then
    printf 'start-production: .env can be read by others: chmod 600 .env\n' >&2
fi

# What this machine, or the container that this is, may use, in MB.
memory=$(($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 1024))
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
if [ "$limit" != max ] && [ $((limit >> 20)) -lt "$memory" ]; then memory=$((limit >> 20)); fi

export ENV=production
# A quarter of the memory for entries, from 64 MB to 4 GB; with the default of DB_POOL_SIZE, pools that two servers may have on one PostgreSQL of 100 connections.
# Threads are as many as cores, which the program counts by itself, quotas of containers included.
is_set CACHE_MEMORY || { size=$((memory / 4)); [ $size -ge 64 ] || size=64; [ $size -le 4096 ] || size=4096; export CACHE_MEMORY="${size}mb"; }
is_set DB_MAX_OVERFLOW || export DB_MAX_OVERFLOW=20
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

exec "$larder" serve "$@"
