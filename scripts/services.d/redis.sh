# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# Redis: one process, nothing written to disk but what a restart must find.

redis_prepare() {
    local service=$1 part=$data/$1
    take_ports "$service" port
    mkdir -p -- "$part/db"
    # Beside the data: Sentinel has Redis write its role there, by a file that replaces this one.
    cat >"$part/db/redis.conf" <<CONF
bind 127.0.0.1
port $(get "$service/port")
dir $part/db
daemonize no
# A view must be refused room rather than lose keys that nobody chose.
maxmemory 256mb
maxmemory-policy noeviction
# Data survives a restart of the service.
appendonly yes
appendfsync everysec
save ""
# A replica is filled at once, and not when others may have come, too.
repl-diskless-sync-delay 0
CONF
    redis_place "$service" >>"$part/db/redis.conf"
    own redis "$part/db"
}

redis_start() {
    launch "$1" redis redis-server "$data/$1/db/redis.conf"
    await_ready "$1" redis_answers "$1"
}

redis_answers() {
    [ "$(timeout 2 redis-cli -h 127.0.0.1 -p "$(get "$1/port")" ping 2>/dev/null)" = PONG ]
}

redis_env() {
    local url
    url=redis://127.0.0.1:$(get "$1/port")/0
    case "$1" in
        redis) export_line VMCTL_REDIS_URL "$url"; export_line VMCTL_TEST_REDIS_URL "$url" ;;
        victim-redis) export_line VMCTL_TEST_VICTIM_REDIS_URL "$url" ;;
        shard-*) shard_env "$1" ;;
    esac
}
