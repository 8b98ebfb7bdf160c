# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# RabbitMQ: single nodes (`rabbitmq`, `victim`) and the three nodes of `cluster`.
#
# Debian's wrappers insist on the machine's own broker, so the scripts below them are called with an
# environment in which every path is ours. All nodes share one cookie and one port mapper (epmd),
# which runs as a service of its own so that it is stopped like the others.

rabbitmq_bin=/usr/lib/rabbitmq/bin
cluster_nodes=(cluster-1 cluster-2 cluster-3)

# The node name: unique to the port, since epmd refuses a name twice.
rabbitmq_node() {
    printf '%s\n' "vmctl-$1@localhost"
}

epmd_prepare() {
    take_ports epmd port
    mkdir -p -- "$data/epmd/home"
    (umask 077 && random_hex 16 >"$data/epmd/home/.erlang.cookie")
    chmod 400 "$data/epmd/home/.erlang.cookie"
    own rabbitmq "$data/epmd/home"
}

epmd_start() {
    launch epmd rabbitmq epmd -address 127.0.0.1 -port "$(get epmd/port)"
    await_ready epmd accepts "$(get epmd/port)"
}

rabbitmq_prepare() {
    local service=$1 part=$data/$1 node
    take_ports "$service" port dist-port api-port metrics-port
    mkdir -p -- "$part"/{mnesia,logs,conf.d,generated,schema}
    : >"$part/env.conf"
    printf '[].\n' >"$part/advanced.config"
    printf '[rabbitmq_management,rabbitmq_prometheus].\n' >"$part/plugins"
    {
        cat <<CONF
listeners.tcp.1 = 127.0.0.1:$(get "$service/port")
management.tcp.ip = 127.0.0.1
management.tcp.port = $(get "$service/api-port")
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $(get "$service/metrics-port")
default_user = vmctl
default_pass = $(get password)
cluster_partition_handling = autoheal
disk_free_limit.absolute = 50MB
CONF
        case "$service" in
            cluster-*)
                printf 'cluster_formation.peer_discovery_backend = classic_config\n'
                for node in "${cluster_nodes[@]}"; do
                    printf 'cluster_formation.classic_config.nodes.%s = %s\n' \
                        "${node#cluster-}" "$(rabbitmq_node "$node")"
                done
                ;;
        esac
    } >"$part/rabbitmq.conf"
    own rabbitmq "$part"
    # The log is opened by root before it becomes the service; the rest is the service's.
    chmod 711 "$part"
}

# rabbitmq_environment SERVICE: sets $environment for the node and for the tools that talk to it.
rabbitmq_environment() {
    local part=$data/$1
    local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
    environment=(
        "HOME=$data/epmd/home"
        "RABBITMQ_NODENAME=$(rabbitmq_node "$1")"
        "RABBITMQ_DIST_PORT=$(get "$1/dist-port")"
        "ERL_EPMD_PORT=$(get epmd/port)"
        ERL_EPMD_ADDRESS=127.0.0.1
        "RABBITMQ_CONF_ENV_FILE=$part/env.conf"
        "RABBITMQ_CONFIG_FILE=$part/rabbitmq.conf"
        "RABBITMQ_CONFIG_FILES=$part/conf.d"
        "RABBITMQ_ADVANCED_CONFIG_FILE=$part/advanced.config"
        "RABBITMQ_ENABLED_PLUGINS_FILE=$part/plugins"
        "RABBITMQ_GENERATED_CONFIG_DIR=$part/generated"
        "RABBITMQ_SCHEMA_DIR=$part/schema"
        "RABBITMQ_MNESIA_BASE=$part/mnesia"
        "RABBITMQ_LOG_BASE=$part/logs"
        "RABBITMQ_PID_FILE=$part/rabbitmq.pid"
        # Idle schedulers sleep instead of spinning; a silent node is noticed after 15 s.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false -kernel net_ticktime 15 $loopback"
        "RABBITMQ_CTL_ERL_ARGS=-start_epmd false $loopback"
        # The start script then becomes the node, instead of waiting for it in a shell: the
        # recorded pid is the node's, and TERM is the node's orderly stop.
        RUNNING_UNDER_SYSTEMD=true
    )
}

rabbitmq_start() {
    local environment
    rabbitmq_environment "$1"
    launch "$1" rabbitmq "${environment[@]}" "$rabbitmq_bin/rabbitmq-server"
    # The AMQP listener opens last.
    await_ready "$1" accepts "$(get "$1/port")"
}

# rabbitmq_tool TOOL SERVICE ARGUMENTS…: replaces this process by rabbitmqctl or one of its kin.
rabbitmq_tool() {
    local tool=$1 service=$2 environment
    shift 2
    rabbitmq_environment "$service"
    as_user rabbitmq "${environment[@]}" "$rabbitmq_bin/$tool" "$@"
}

rabbitmq_url() {
    printf '%s\n' "amqp://vmctl:$(get password)@127.0.0.1:$(get "$1/port")/%2f"
}

rabbitmq_api() {
    printf '%s\n' "http://vmctl:$(get password)@127.0.0.1:$(get "$1/api-port")/api"
}

rabbitmq_metrics() {
    printf '%s\n' "127.0.0.1:$(get "$1/metrics-port")"
}

rabbitmq_env() {
    local node urls=()
    case "$1" in
        rabbitmq)
            export_line VMCTL_AMQP_URL "$(rabbitmq_url "$1")"
            export_line VMCTL_TEST_AMQP_URL "$(rabbitmq_url "$1")"
            export_line VMCTL_TEST_RABBITMQ_API "$(rabbitmq_api "$1")"
            export_line VMCTL_TEST_RABBITMQ_METRICS "$(rabbitmq_metrics "$1")"
            ;;
        victim)
            export_line VMCTL_TEST_VICTIM_AMQP_URL "$(rabbitmq_url "$1")"
            export_line VMCTL_TEST_VICTIM_RABBITMQ_API "$(rabbitmq_api "$1")"
            ;;
        cluster-1)
            for node in "${cluster_nodes[@]}"; do
                urls+=("$(rabbitmq_url "$node")")
            done
            export_line VMCTL_TEST_CLUSTER_AMQP_URLS "$(IFS=, && printf '%s' "${urls[*]}")"
            ;;
    esac
}
