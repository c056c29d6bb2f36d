#!/bin/sh
# Makes the secrets of compose.yaml that are not there yet: make-secrets.sh [DIRECTORY]
# Readable by the users of the containers (postgres, and 65532 of the server), on a volume that nobody else mounts.
set -eu
dir=${1:-/run/larder}
umask 022

# 48 letters and digits: nothing that a URL or a shell would take apart.
random() { head -c 512 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 48; }

make() {
    [ -s "$dir/$1" ] || { printf '%s\n' "$2" >"$dir/$1.new" && mv "$dir/$1.new" "$dir/$1"; }
}

make postgres_password "$(random)"
make jwt_secret "$(random)"
make metrics_token "$(random)"
make database_url "postgres://larder:$(cat "$dir/postgres_password")@postgres:5432/larder"
