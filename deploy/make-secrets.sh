#!/usr/bin/env bash
# Makes the secrets of a new installation, one file each, for Compose and for Kubernetes. What is there stays.
usage() {
    cat <<'TEXT'
usage: deploy/make-secrets.sh [--rabbitmq HOST] [--redis HOST] DIRECTORY

Files made: id-secret, callback-secret, worker-api-token, keystone-admin, keystone-service, first-user (passwords),
rabbitmq.conf and redis.conf (the passwords of the two services), amqp-url and redis-url (addresses with them).
TEXT
}

set -euo pipefail

fail() {
    printf 'make-secrets: %s\n' "$*" >&2
    exit 2
}

rabbitmq=rabbitmq redis=redis directory=''
while [ "$#" -gt 0 ]; do
    case "$1" in
        --rabbitmq | --redis)
            [ -n "${2:-}" ] || fail "$1 needs a host"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        -h | --help) usage && exit 0 ;;
        -*) usage >&2 && fail "unknown option: $1" ;;
        *) directory=$1 ;;
    esac
    shift
done
[ -n "$directory" ] || { usage >&2 && exit 2; }
# The directory keeps other users of this machine out. The files can be read by all, because Compose mounts them as they
# are, into containers whose users this machine does not know.
install -d -m 0700 -- "$directory"
umask 022
cd -- "$directory"

random() {
    head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d =
}

# put FILE: standard input, unless the file is there. All of it or nothing.
put() {
    cat >"$1.new"
    # Everything is read first: a writer whose reader has gone is a failure.
    if [ -s "$1" ]; then rm -- "$1.new"; else mv -- "$1.new" "$1"; fi
}

for name in id-secret worker-api-token keystone-admin keystone-service first-user rabbitmq-password redis-password; do
    random | put "$name"
done
printf 'whsec_%s' "$(head -c 32 /dev/urandom | base64 -w 0)" | put callback-secret

put rabbitmq.conf <<CONF
default_user = vmctl
default_pass = $(cat rabbitmq-password)
CONF
put redis.conf <<CONF
requirepass $(cat redis-password)
# A view: nothing is kept, and nothing is thrown away behind the reader's back.
save ""
appendonly no
maxmemory-policy noeviction
CONF
printf 'amqp://vmctl:%s@%s:5672/%%2f' "$(cat rabbitmq-password)" "$rabbitmq" | put amqp-url
printf 'redis://:%s@%s:6379/0' "$(cat redis-password)" "$redis" | put redis-url
