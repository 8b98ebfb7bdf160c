#!/bin/sh
# Writes the configuration of one Redis and of the Sentinel beside it, before they start.
#
# Who is master is asked of the other Sentinels; if none knows, it is the first pod. A master that comes back before
# it was replaced comes back empty: Redis is a view, and the reader fills it again from the broker's log.
set -eu
me=$HOSTNAME
secrets=/run/secrets/vmctl
master=redis-0
for peer in redis-0 redis-1 redis-2; do
    [ "$peer" != "$me" ] || continue
    known=$(REDISCLI_AUTH=$(cat "$secrets/redis-sentinel") timeout 2 redis-cli --tls --cacert "$secrets/ca.pem" \
        -h "$peer" -p 26379 --user sentinel --raw sentinel get-master-addr-by-name vmctl 2>/dev/null |
        head -n 1) || continue
    [ -z "$known" ] || master=$known
done

# What both have: no port without TLS, and no certificate asked of those who connect.
tls() {
    cat <<CONF
port 0
tls-port $1
tls-cert-file $secrets/tls-redis.pem
tls-key-file $secrets/tls-redis.key
tls-ca-cert-file $secrets/ca.pem
tls-auth-clients no
tls-replication yes
dir /data
CONF
}

{
    tls 6379
    cat <<CONF
aclfile $secrets/redis-users.acl
save ""
appendonly no
maxmemory ${MAXMEMORY:?}
maxmemory-policy noeviction
masteruser replica
masterauth $(cat "$secrets/redis-replica")
replica-announce-ip $me
CONF
    [ "$master" = "$me" ] || printf 'replicaof %s 6379\n' "$master"
} >/data/redis.conf

{
    tls 26379
    cat <<CONF
aclfile $secrets/sentinel-users.acl
sentinel sentinel-user sentinel
sentinel sentinel-pass $(cat "$secrets/redis-sentinel")
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $me
sentinel monitor vmctl $master 6379 2
sentinel auth-user vmctl sentinel
sentinel auth-pass vmctl $(cat "$secrets/redis-sentinel")
sentinel down-after-milliseconds vmctl 5000
sentinel failover-timeout vmctl 30000
CONF
} >/data/sentinel.conf
