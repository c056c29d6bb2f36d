#!/bin/sh
# Replaces the servers of compose.yaml one after the other, the new one first, so that somebody always serves: deploy/upgrade-compose.sh
#
# `docker compose up -d` alone stops all of them at once. Before it: docker compose build backend (or pull), and the CHANGELOG. It ends with the first new
# server that does not become healthy, and then nothing was stopped. The tests run it with a Docker of their own making; with the real one it was never run by us.
set -eu
cd "$(dirname "$0")/.."

olds=$(docker compose ps -q backend)
[ -n "$olds" ] || { printf 'upgrade-compose: no server runs; start with docker compose up -d\n' >&2; exit 1; }
servers=$(printf '%s\n' "$olds" | wc -l)

for old in $olds; do
    # One more, of the new image and the new settings; --no-recreate leaves the others as they are, --wait waits until all are healthy.
    docker compose up -d --no-deps --no-recreate --wait --scale "backend=$((servers + 1))" backend
    # SIGTERM: /health/ready says 503 for 5 s, then requests in flight have 30 s. nginx asks for names every 2 s and passes over who refuses.
    docker stop -t 45 "$old"
    docker rm "$old"
done
