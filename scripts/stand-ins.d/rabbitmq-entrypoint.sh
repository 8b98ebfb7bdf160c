#!/bin/bash
# Starts as root, gives the data to the user of the server, and goes on as that user; as any other user it just starts.
set -euo pipefail
if [[ "$1" == rabbitmq* ]] && [ "$(id -u)" = 0 ]; then
    if [ "$1" = rabbitmq-server ]; then
        find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
    fi
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
# Names with dots are another kind of node name.
if [ -z "${RABBITMQ_USE_LONGNAME:-}" ] && [[ "$(uname -n)" == *.* ]]; then
    export RABBITMQ_USE_LONGNAME=true
fi
exec "$@"
