#!/bin/sh
# Makes the secrets that are not there yet, in files that nobody else can read: make-secrets.sh [OPTIONS] [DIRECTORY]
#
#   DIRECTORY            where; /etc/larder unless said
#   --owner UID          whose the files are, where larder runs as another user than this one
#   --postgres UID DIR   makes a password for PostgreSQL, too, and a copy for its own user in a directory of its own: that of compose.yaml
#   --rotate NAME        replaces one: jwt_secret (the old one becomes jwt_secret_previous), metrics_token or postgres_password
# What has to be done besides when one is replaced: docs/operating.md.
set -eu
umask 077
dir=/etc/larder owner='' postgres_owner='' postgres='' rotate=''
while [ $# -gt 0 ]; do
    case $1 in
        --owner) owner=$2; shift 2 ;;
        --postgres) postgres_owner=$2 postgres=$3; shift 3 ;;
        --rotate) rotate=$2; shift 2 ;;
        -*) printf 'make-secrets: %s is no option\n' "$1" >&2; exit 2 ;;
        *) dir=$1; shift ;;
    esac
done

# 48 letters and digits: nothing that a URL or a shell would take apart.
random() { head -c 512 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 48; }

# What is there has another name until it is whole: write FILE TEXT OWNER
write() {
    printf '%s\n' "$2" >"$1.new"
    [ -z "$3" ] || chown "$3:$3" "$1.new"
    mv "$1.new" "$1"
}

make() { [ -s "$dir/$1" ] || write "$dir/$1" "$2" "$owner"; }

# A directory that is made here is for the owner alone.
own() { [ -d "$1" ] || mkdir -p "$1"; [ -z "$2" ] || { chown "$2:$2" "$1" && chmod 700 "$1"; }; }

own "$dir" "$owner"
case $rotate in
    '') ;;
    jwt_secret) mv "$dir/jwt_secret" "$dir/jwt_secret_previous" ;;
    metrics_token) rm -f "$dir/metrics_token" ;;
    postgres_password) rm -f "$dir/postgres_password" "$dir/database_url" ;;
    *) printf 'make-secrets: --rotate takes jwt_secret, metrics_token or postgres_password\n' >&2; exit 2 ;;
esac

make jwt_secret "$(random)"
# Nobody has signed anything with the first one; the file is there so that nothing has to be set when there is another.
make jwt_secret_previous "$(random)"
make metrics_token "$(random)"
if [ -n "$postgres" ]; then
    make postgres_password "$(random)"
    password=$(cat "$dir/postgres_password")
    make database_url "postgres://larder:$password@postgres:5432/larder"
    own "$postgres" "$postgres_owner"
    write "$postgres/postgres_password" "$password" "$postgres_owner"
fi
