#!/usr/bin/env bash
# Starts `larder serve` in production, with sizes that fit this machine: scripts/start-production.sh [FLAGS of larder serve]
#
# Secrets come from the environment, from .env or from files (JWT_SECRET_FILE=…); without them it does not start. What is set already is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'start-production: %s\n' "$*" >&2; exit 2; }

# Whether a variable, or the file that it names, is set in the environment or in .env.
is_set() {
    local name
    for name in "$1" "$1_FILE"; do
        [ -n "${!name:-}" ] && return
        [ -f .env ] && grep -Eq "^[[:space:]]*(export[[:space:]]+)?$name=[\"']?[^\"'[:space:]]" .env && return
    done
    return 1
}

is_set JWT_SECRET || fail 'JWT_SECRET is missing: make one with `openssl rand -hex 32` and put it into .env (mode 600), or name a file: JWT_SECRET_FILE=…'
is_set DATABASE_URL || fail 'DATABASE_URL is missing: postgres://user:password@host/database, or sqlite:///var/lib/larder/larder.db for a single server'
is_set REDIS_URL || printf 'start-production: without REDIS_URL every server has a cache of its own, and knows nothing of what others change: run one only\n' >&2
if [ -f .env ] && [ -n "$(find .env -perm /077)" ]; then
    printf 'start-production: .env can be read by others: chmod 600 .env\n' >&2
fi

cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
# What this machine, or the container that this is, may use, in MB.
memory=$(($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 1024))
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
if [ "$limit" != max ] && [ $((limit >> 20)) -lt "$memory" ]; then memory=$((limit >> 20)); fi

export ENV=production
# A thread a core; a quarter of the memory for entries, from 64 MB to 4 GB; a pool that two servers of this size may have on one PostgreSQL of 100 connections.
is_set WORKERS || export WORKERS="$cores"
is_set CACHE_MEMORY || { size=$((memory / 4)); [ $size -ge 64 ] || size=64; [ $size -le 4096 ] || size=4096; export CACHE_MEMORY="${size}mb"; }
is_set DB_POOL_SIZE || { size=$((cores * 5)); [ $size -le 20 ] || size=20; export DB_POOL_SIZE=$size; }
is_set DB_MAX_OVERFLOW || export DB_MAX_OVERFLOW=20
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

larder=${LARDER:-$(command -v larder || true)}
for candidate in target/dist/larder target/release/larder; do
    [ -z "$larder" ] && [ -x "$candidate" ] && larder=$candidate
done
[ -n "$larder" ] || fail 'the program is missing: cargo build --profile dist --bin larder'
exec "$larder" serve "$@"
