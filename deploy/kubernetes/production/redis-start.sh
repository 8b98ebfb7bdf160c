#!/bin/sh
# Writes the configuration of one Redis and of the Sentinel beside it, before they start.
#
# Who is master is asked of the other Sentinels; if none knows, it is the first pod. A master that comes back before
# it was replaced comes back empty: Redis is a view, and the reader fills it again from the broker's log.
set -eu
me=$HOSTNAME.redis
password=$(cat /run/secrets/vmctl/redis-password)
master=redis-0.redis
for peer in redis-0.redis redis-1.redis redis-2.redis; do
    [ "$peer" != "$me" ] || continue
    known=$(timeout 2 redis-cli -h "$peer" -p 26379 --raw sentinel get-master-addr-by-name vmctl 2>/dev/null | head -n 1) || continue
    [ -z "$known" ] || master=$known
done

cat >/data/redis.conf <<CONF
port 6379
dir /data
save ""
appendonly no
maxmemory ${MAXMEMORY:?}
maxmemory-policy noeviction
requirepass $password
masterauth $password
replica-announce-ip $me
CONF
[ "$master" = "$me" ] || printf 'replicaof %s 6379\n' "$master" >>/data/redis.conf

cat >/data/sentinel.conf <<CONF
port 26379
dir /data
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $me
sentinel monitor vmctl $master 6379 2
sentinel auth-pass vmctl $password
sentinel down-after-milliseconds vmctl 5000
sentinel failover-timeout vmctl 30000
CONF
