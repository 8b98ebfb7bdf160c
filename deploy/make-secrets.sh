#!/usr/bin/env bash
# Makes the secrets of a new installation, one file each, for Compose and for Kubernetes. What is there stays.
usage() {
    cat <<'TEXT'
usage: deploy/make-secrets.sh [OPTION…] DIRECTORY

  --server PROGRAM    vmctl-server, which knows the rights of each user; default: the one in PATH, else
                      target/release/vmctl-server, else the image, by docker or podman
  --image NAME        that image, which must be here; default: vmctl-server:VERSION
  --name HOST         a name or address that clients know the server and Keystone by, beside localhost; may be repeated
  --rabbitmq HOST     default: rabbitmq
  --redis HOST[,…]    default: redis; of Sentinels there are several
  --sentinel NAME     Redis is behind Sentinel, which calls the master so
  --private           each file for its owner alone, as systemd hands them on; default: for all who may enter the
                      directory, as Compose mounts them

Made once: id-secret, callback-secret, worker-api-token, keystone-admin, keystone-service, first-user (passwords),
ca/ (an authority of the installation's own: keep it elsewhere), passwords/ (of the users of broker and Redis).
Made again from those, each time: definitions.json (RabbitMQ), redis-users.acl, sentinel-users.acl, amqp-url-USER,
redis-url-USER, management-url-vmctl-monitor, ca.pem, redis-replica, redis-sentinel and keda-tls.
Taken if it is there: more-authorities.pem, to trust besides; a tls-PROGRAM.pem of another authority stays as it is.
Certificates of the authority, tls-PROGRAM.pem with tls-PROGRAM.key: made again in the last 30 days of their year, and
when their names change.
TEXT
}

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'make-secrets: %s\n' "$*" >&2
    exit 2
}

mode=022
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
server='' image=vmctl-server:$version rabbitmq=rabbitmq redis=redis sentinel='' directory='' names=()
while [ "$#" -gt 0 ]; do
    case "$1" in
        --server | --image | --rabbitmq | --redis | --sentinel | --name)
            [ -n "${2:-}" ] || fail "$1 needs a value"
            if [ "$1" = --name ]; then names+=("$2"); else printf -v "${1#--}" '%s' "$2"; fi
            shift
            ;;
        --private) mode=077 ;;
        -h | --help) usage && exit 0 ;;
        -*) usage >&2 && fail "unknown option: $1" ;;
        *) directory=$1 ;;
    esac
    shift
done
[ -n "$directory" ] || { usage >&2 && exit 2; }
command -v openssl >/dev/null || fail 'openssl is not installed'
case "$server" in */*) server=$(realpath -e -- "$server") || fail "$server is not there" ;; esac
# The directory keeps other users of this machine out. The files can be read by all unless they are to be private, because
# Compose mounts them as they are, into containers whose users this machine does not know.
[ -d "$directory" ] || install -d -m 0700 -- "$directory"
umask "$mode"
cd -- "$directory"
case "$(stat -c %a .)" in *00) ;; *) fail "others may enter $directory: chmod 700 it, or name a new one" ;; esac
# Whatever was not finished is no secret that anybody should mount.
trap 'rm -f -- *.new passwords/*.new' EXIT

# --- what is random ------------------------------------------------------------

random() {
    head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d =
}

# put FILE: standard input, unless the file is there. All of it or nothing.
put() {
    cat >"$1.new"
    # Everything is read first: a writer whose reader has gone is a failure.
    if [ -s "$1" ]; then rm -- "$1.new"; else mv -- "$1.new" "$1"; fi
}

# put_again FILE: standard input, in place of what is there.
put_again() {
    cat >"$1.new"
    mv -- "$1.new" "$1"
}

for name in id-secret worker-api-token keystone-admin keystone-service first-user; do
    random | put "$name"
done
printf 'whsec_%s' "$(head -c 32 /dev/urandom | base64 -w 0)" | put callback-secret

# Users of the broker. vmctl-worker may do the work of every kind; the two after it are for workers of some kinds.
broker_users=(vmctl-server vmctl-reader vmctl-worker vmctl-machines vmctl-notifier vmctl-monitor)
# Of Redis: the programs, and what Redis and Sentinel call each other with.
redis_users=(vmctl-server vmctl-reader vmctl-worker replica sentinel)
mkdir -p passwords
for name in "${broker_users[@]}" "${redis_users[@]}"; do
    random | put "passwords/$name"
done

# --- who may do what -----------------------------------------------------------

# topology ARGUMENT…: what vmctl-server prints of it.
topology() {
    local engine
    for program in "$server" vmctl-server "$here/../target/release/vmctl-server"; do
        if [ -n "$program" ] && command -v "$program" >/dev/null; then
            "$program" topology "$@" --passwords-from passwords
            return
        fi
        [ -z "$server" ] || fail "$server is not a program"
    done
    for engine in docker podman; do
        if command -v "$engine" >/dev/null && "$engine" image inspect "$image" >/dev/null 2>&1; then
            "$engine" run --rm --network none --read-only -v "$PWD/passwords:/passwords:ro" "$image" \
                topology "$@" --passwords-from /passwords
            return
        fi
    done
    fail "neither vmctl-server nor the image $image is here: --server or --image names it"
}

# Before anything is replaced.
definitions=$(topology export --vhost jobs --monitor vmctl-monitor --worker vmctl-notifier=callback.deliver \
    --worker vmctl-machines=vm.create,vm.delete,vm.provision,flow.run)
users=$(topology redis-acl)
put_again definitions.json <<<"$definitions"

digest() {
    printf '#%s' "$(sha256sum <"passwords/$1" | cut -d ' ' -f 1)"
}

{
    printf '%s\n' "$users"
    # For probes, without a password: it can say PING and nothing else.
    printf 'user probe on nopass resetchannels -@all +ping\n'
    # What a replica needs, and what Sentinel: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
    printf 'user replica on %s resetchannels -@all +psync +replconf +ping\n' "$(digest replica)"
    printf 'user sentinel on %s allchannels -@all +multi +slaveof +ping +exec +subscribe +config|rewrite +role' \
        "$(digest sentinel)"
    printf ' +publish +info +client|setname +client|kill +script|kill\n'
} | put_again redis-users.acl

# Whoever may order a Sentinel about decides who is master. The programs ask who it is, with their own names; Sentinels
# ask each other, and each pod at its start.
{
    printf 'user default off\nuser probe on nopass resetchannels -@all +ping\n'
    for name in vmctl-server vmctl-reader vmctl-worker; do
        printf 'user %s on %s resetchannels -@all +sentinel|masters +ping +role\n' "$name" "$(digest "$name")"
    done
    printf 'user sentinel on %s allchannels -@all +sentinel|is-master-down-by-addr' "$(digest sentinel)"
    printf ' +sentinel|get-master-addr-by-name +publish +subscribe +ping +info +role +client|setname\n'
} | put_again sentinel-users.acl

for name in "${broker_users[@]}"; do
    # It asks the management API alone.
    [ "$name" != vmctl-monitor ] || continue
    printf 'amqps://%s:%s@%s:5671/jobs' "$name" "$(cat "passwords/$name")" "$rabbitmq" | put_again "amqp-url-$name"
done
# For KEDA, which is in another namespace: the management API, then the virtual host.
host=$rabbitmq
[ "$host" != rabbitmq ] || host=rabbitmq.vmctl.svc
printf 'https://vmctl-monitor:%s@%s:15671/jobs' "$(cat passwords/vmctl-monitor)" "$host" |
    put_again management-url-vmctl-monitor
for name in vmctl-server vmctl-reader vmctl-worker; do
    if [ -n "$sentinel" ]; then
        password=$(cat "passwords/$name")
        printf 'rediss+sentinel://%s:%s@%s/%s/0' "$name" "$password" "$redis" "$sentinel"
        printf '?sentinel_username=%s&sentinel_password=%s' "$name" "$password"
    else
        printf 'rediss://%s:%s@%s:6379/0' "$name" "$(cat "passwords/$name")" "$redis"
    fi | put_again "redis-url-$name"
done

# Where one of them alone is wanted: by redis-start.sh, and by KEDA, which is told so that it has TLS.
put_again redis-replica <passwords/replica
put_again redis-sentinel <passwords/sentinel
printf 'enable' | put_again keda-tls

# --- certificates --------------------------------------------------------------

mkdir -p ca
if [ ! -s ca/ca.key ]; then
    # With another one, nobody who trusts this one would trust anything that is made from now on.
    [ ! -s ca.pem ] || fail 'ca/ca.key is not here: bring it back, or delete ca.pem for another authority'
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out ca/ca.key)
    openssl req -x509 -new -key ca/ca.key -sha256 -days 3650 -subj '/CN=vmctl' -out ca/ca.pem \
        -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign'
fi
# Others that are to be trusted besides, that of the cloud's Keystone for instance.
{
    cat ca/ca.pem
    [ ! -s more-authorities.pem ] || cat more-authorities.pem
} | put_again ca.pem

# certificate PROGRAM NAME…: unless there is one with these names that is good for a month.
certificate() {
    local file=tls-$1 name list=''
    shift
    for name in "$@" localhost; do
        case "$name" in
            *:*) list+=,IP:$name ;;
            *[!0-9.]*) list+=,DNS:$name ;;
            *) list+=,IP:$name ;;
        esac
    done
    list=${list#,},IP:127.0.0.1
    # One of another authority is not ours to replace.
    if [ -s "$file.pem" ] && ! openssl verify -no_check_time -CAfile ca/ca.pem "$file.pem" >/dev/null 2>&1; then
        return
    fi
    if [ -s "$file.pem" ] && [ "$(cat "ca/$file.names" 2>/dev/null)" = "$list" ] &&
        openssl x509 -checkend 2592000 -noout -in "$file.pem" >/dev/null; then
        return
    fi
    openssl ecparam -name prime256v1 -genkey -noout -out "$file.key.new"
    openssl req -new -key "$file.key.new" -subj "/CN=$1" |
        openssl x509 -req -CA ca/ca.pem -CAkey ca/ca.key -sha256 -days 365 \
            -set_serial "0x$(openssl rand -hex 16)" -out "$file.pem.new" 2>"$file.why.new" -extfile <(
                printf 'subjectAltName=%s\n' "$list"
                printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n'
            ) || fail "no certificate for $list: $(cat "$file.why.new")"
    # Openssl makes keys private by itself.
    [ "$mode" = 077 ] || chmod 0644 "$file.key.new"
    mv -- "$file.key.new" "$file.key"
    mv -- "$file.pem.new" "$file.pem"
    printf '%s' "$list" >"ca/$file.names"
}

# Names in Compose and in the namespace `vmctl` of Kubernetes.
certificate rabbitmq "$rabbitmq" rabbitmq.vmctl.svc
IFS=, read -ra hosts <<<"$redis"
certificate redis "${hosts[@]%:*}" redis.vmctl.svc
certificate keystone keystone keystone.vmctl.svc "${names[@]}"
certificate server server vmctl-server vmctl-server.vmctl.svc "${names[@]}"
certificate worker worker vmctl-worker vmctl-worker.vmctl.svc
certificate reader reader vmctl-reader
