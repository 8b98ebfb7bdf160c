# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# Redis in groups: a pair watched by three Sentinels, and a cluster of three masters with a replica
# each. A master that is lost is replaced within a few seconds.

sentinel_master=main
shards=(shard-1 shard-2 shard-3 shard-4 shard-5 shard-6)

# redis_place SERVICE: the lines of its configuration that say where it stands in its group.
redis_place() {
    case "$1" in
        pair-2) printf 'replicaof 127.0.0.1 %s\n' "$(get pair-1/port)" ;;
        shard-*)
            take_ports "$1" bus-port
            printf 'cluster-enabled yes\ncluster-port %s\n' "$(get "$1/bus-port")"
            # Without a word from a master for so long it is taken for dead.
            printf 'cluster-node-timeout 2000\ncluster-config-file nodes.conf\n'
            ;;
    esac
}

# redis_ask SERVICE WORDS…: one command to one Redis or Sentinel.
redis_ask() {
    local service=$1
    shift
    timeout 2 redis-cli -h 127.0.0.1 -p "$(get "$service/port")" "$@" 2>/dev/null
}

# --- Sentinel ----------------------------------------------------------------

sentinel_prepare() {
    local service=$1 part=$data/$1
    take_ports "$service" port
    mkdir -p -- "$part/db"
    # Sentinel keeps what it learns in its configuration.
    cat >"$part/db/sentinel.conf" <<CONF
bind 127.0.0.1
port $(get "$service/port")
dir $part/db
daemonize no
sentinel monitor $sentinel_master 127.0.0.1 $(get pair-1/port) 2
sentinel down-after-milliseconds $sentinel_master 1000
sentinel failover-timeout $sentinel_master 6000
CONF
    own redis "$part/db"
}

sentinel_start() {
    launch "$1" redis redis-server "$data/$1/db/sentinel.conf" --sentinel
    await_ready "$1" redis_answers "$1"
}

# The address names all three, so that losing one of them is nothing.
sentinel_env() {
    [ "$1" = sentinel-1 ] || return 0
    export_line VMCTL_TEST_SENTINEL_URL "$(printf 'redis+sentinel://127.0.0.1:%s,127.0.0.1:%s,127.0.0.1:%s/%s/0' \
        "$(get sentinel-1/port)" "$(get sentinel-2/port)" "$(get sentinel-3/port)" "$sentinel_master")"
}

start_sentinel() {
    local name
    # Each is told the port of the one before.
    for name in pair-1 pair-2 sentinel-1 sentinel-2 sentinel-3; do
        start_service "$name" || return 1
    done
    until_true "$ready_patience" sentinel_is_whole || {
        say 'the Sentinels do not see each other'
        return 1
    }
}

# Whether every Sentinel knows the two others and a replica, so that each may replace the master.
sentinel_is_whole() {
    local name state
    for name in sentinel-1 sentinel-2 sentinel-3; do
        state=$(redis_ask "$name" sentinel master "$sentinel_master" | paste -d= - -) || return 1
        case "$state" in *num-slaves=1*num-other-sentinels=2*) ;; *) return 1 ;; esac
    done
}

# --- Redis Cluster -----------------------------------------------------------

start_shards() {
    local name job failed=0 jobs=()
    for name in "${shards[@]}"; do
        start_service "$name" & jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || failed=1
    done
    [ "$failed" = 0 ] || return 1
    until_true "$ready_patience" shards_are_whole || {
        say 'the Redis Cluster does not form'
        return 1
    }
}

# Takes the next step to a whole cluster; succeeds when there is none left.
shards_are_whole() {
    local name number first=0 last
    for name in "${shards[@]}"; do
        redis_ask "$name" cluster info | grep -q 'cluster_known_nodes:6' || shard_meets "$name"
    done
    # Told once only: a cluster that has slots has been made.
    if redis_ask shard-1 cluster info | grep -q 'cluster_slots_assigned:0'; then
        for number in 1 2 3; do
            last=$((16384 * number / 3 - 1))
            redis_ask "shard-$number" cluster addslotsrange "$first" "$last" >/dev/null || return 1
            first=$((last + 1))
        done
        return 1
    fi
    for name in "${shards[@]}"; do
        redis_ask "$name" cluster info | grep -q 'cluster_state:ok' || return 1
        redis_ask "$name" cluster info | grep -q 'cluster_known_nodes:6' || return 1
    done
    # The masters of the beginning are shard-1 to -3; later any of a pair may lead.
    if [ ! -f "$dir/shard-6/joined" ]; then
        for number in 1 2 3; do
            name=$(redis_ask "shard-$number" cluster myid) || return 1
            redis_ask "shard-$((number + 3))" cluster replicate "$name" >/dev/null || return 1
        done
        put shard-6/joined yes
    fi
    for name in "${shards[@]}"; do
        redis_ask "$name" info replication | tr -d '\r' |
            grep -Eq '^(master_link_status:up|connected_slaves:1)$' || return 1
    done
}

shard_meets() {
    [ "$1" = shard-1 ] || redis_ask "$1" cluster meet 127.0.0.1 "$(get shard-1/port)" \
        "$(get shard-1/bus-port)" >/dev/null || true
}

# shard_env SERVICE: the address names all six, so that losing one of them is nothing.
shard_env() {
    local name hosts=
    [ "$1" = shard-1 ] || return 0
    for name in "${shards[@]}"; do
        hosts+=",127.0.0.1:$(get "$name/port")"
    done
    export_line VMCTL_TEST_REDIS_CLUSTER_URL "redis+cluster://${hosts#,}"
}
