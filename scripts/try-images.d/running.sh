# shellcheck shell=bash
# shellcheck disable=SC2154 # $run, $dir, $prefix, … are set by the script that reads this file
# What needs containers. They are in the network of this machine, where the services are.

# unprivileged NAME: who the process is, and what it may.
unprivileged() {
    local found
    found=$(awk '/^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):/ { $1 = $1; print }' "/proc/$(pid_of "$1")/status")
    equal 'Uid: 65532 65532 65532 65532
Gid: 65532 65532 65532 65532
Groups: 65532
CapEff: 0000000000000000
CapBnd: 0000000000000000
NoNewPrivs: 1
Seccomp: 2' "$found"
}

# writable NAME PATH…: nothing else is, seen from outside, so that no program in the image is needed.
writable() {
    equal "${*:2}" "$(python3 scripts/try-images.d/writable.py "$(pid_of "$1")" 65532)"
}

services_up() {
    export VMCTL_SERVICES_DIR=$dir/services
    [ ! -d "$VMCTL_SERVICES_DIR" ] || return 0
    { scripts/install-services && scripts/services up redis rabbitmq; } >"$dir/said" 2>&1 || {
        cat "$dir/said"
        fail "no services"
    }
    eval "$(scripts/services env)"
    printf '%s' "$VMCTL_AMQP_URL" >"$dir/amqp-url"
    printf '%s' "$VMCTL_REDIS_URL" >"$dir/redis-url"
}

# Secrets are files, as in deploy/compose.yaml.
secrets() {
    local name
    for name in keystone-admin keystone-service first-user id-secret; do
        [ -e "$dir/$name" ] || openssl rand -hex 24 | tr -d '\n' >"$dir/$name"
    done
}

keystone_up() {
    [ -z "${keystone_port:-}" ] || return 0
    secrets
    keystone_port=$(free_port)
    keystone_url=http://127.0.0.1:$keystone_port/v3
    keystone_start
    check "keystone: healthy after its first start" until_true healthy keystone
    check "keystone: seed.py makes the users" seed
}

keystone_start() {
    # A container of the same name may be there from before.
    podman rm --force "$run-keystone" >/dev/null 2>&1 || true
    container keystone --publish "127.0.0.1:$keystone_port:5000" --tmpfs /tmp --volume "$run-keystone:/var/lib/keystone" \
        --volume "$dir/keystone-admin:/run/secrets/keystone-admin:ro" \
        --env OS_BOOTSTRAP_PASSWORD_FILE=/run/secrets/keystone-admin --env "KEYSTONE_PUBLIC_URL=$keystone_url" \
        "$(name_of keystone)"
}

seed() {
    local secret mounts=()
    for secret in keystone-admin keystone-service first-user; do
        mounts+=(--volume "$dir/$secret:/run/secrets/$secret:ro")
    done
    once --network host "${mounts[@]}" --env OS_BOOTSTRAP_PASSWORD_FILE=/run/secrets/keystone-admin \
        --volume "$PWD/deploy/keystone/first-users.json:/etc/vmctl/users.json:ro" \
        --entrypoint /usr/bin/python3 "$(name_of keystone)" \
        /usr/libexec/vmctl/seed.py "$keystone_url" /etc/vmctl/users.json
}

# token_of USER PASSWORD PROJECT: Keystone knows them.
knows() {
    jq -n --arg user "$1" --rawfile password "$2" --arg project "$3" '{auth: {
        identity: {methods: ["password"], password: {user: {name: $user, password: $password, domain: {id: "default"}}}},
        scope: {project: {name: $project, domain: {id: "default"}}}}}' |
        curl -fsS --noproxy '*' -o /dev/null -H 'Content-Type: application/json' -d @- "$keystone_url/auth/tokens"
}

part_keystone() {
    keystone_up
    check "keystone: user, capabilities" unprivileged keystone
    check "keystone: writes to its volume and /tmp alone" writable keystone /dev/shm /tmp /var/lib/keystone
    check "keystone: knows the user that was made" knows joe "$dir/first-user" demo
    check "keystone: seed.py again changes nothing" seed
    check "keystone: ends on SIGTERM" ends keystone
    keystone_start
    check "keystone: healthy after a restart" until_true healthy keystone
    check "keystone: its volume keeps users" knows joe "$dir/first-user" demo
    check "keystone: and turns others away" fails_with 22 401 knows joe "$dir/id-secret" demo
}

# The three programs, with the settings that deploy/compose.yaml has.
suite_up() {
    [ -z "${api_port:-}" ] || return 0
    keystone_up
    services_up
    local common=(--network host --env VMCTL_AMQP_URL_FILE=/run/secrets/amqp-url
        --env VMCTL_REDIS_URL_FILE=/run/secrets/redis-url
        --volume "$dir/amqp-url:/run/secrets/amqp-url:ro" --volume "$dir/redis-url:/run/secrets/redis-url:ro")
    api_port=$(free_port)
    container reader "${common[@]}" --env "VMCTL_HEALTH_LISTEN=127.0.0.1:$(free_port)" "$(name_of reader)"
    container worker "${common[@]}" --env "VMCTL_HEALTH_LISTEN=127.0.0.1:$(free_port)" \
        --env VMCTL_SIMULATED_DURATION=2s "$(name_of worker)"
    container server "${common[@]}" --env "VMCTL_LISTEN=127.0.0.1:$api_port" \
        --volume "$dir/id-secret:/run/secrets/id-secret:ro" --env VMCTL_ID_SECRET_FILE=/run/secrets/id-secret \
        --volume "$dir/keystone-service:/run/secrets/keystone-service:ro" \
        --env "VMCTL_KEYSTONE_URL=$keystone_url" --env VMCTL_KEYSTONE_USERNAME=vmctl \
        --env VMCTL_KEYSTONE_PASSWORD_FILE=/run/secrets/keystone-service --env VMCTL_KEYSTONE_PROJECT=service \
        "$(name_of server)"
    local name
    for name in server worker reader; do
        check "$name: healthy" until_true healthy "$name"
    done
    check "client: logs in" log_in
}

# client ARGUMENT…: the client's image, which keeps its login on a volume.
client() {
    once --network host --volume "$run-login:/home/vmctl" "$(name_of vmctl)" \
        --endpoint "http://127.0.0.1:$api_port" "$@"
}

log_in() {
    client login --username joe --project demo --password-stdin <"$dir/first-user"
}

part_suite() {
    local name
    suite_up
    for name in server worker reader; do
        check "$name: user, capabilities" unprivileged "$name"
    done
    check "server: nothing to write to" writable server /dev/shm
    check "reader: nothing to write to" writable reader /dev/shm
    check "worker: writes to its volume alone" writable worker /dev/shm /var/lib/vmctl
    check "a job through all three" client vm create --profile Micro --wait
    scripts/services stop rabbitmq >/dev/null 2>&1
    for name in server worker reader; do
        check "$name: unhealthy without the broker" until_true unhealthy "$name"
    done
    scripts/services start rabbitmq >/dev/null 2>&1
    for name in server worker reader; do
        check "$name: healthy again" until_true healthy "$name"
    done
    scripts/services stop redis >/dev/null 2>&1
    check "server: says what it lacks without Redis, and goes on" until_true degraded server store
    scripts/services start redis >/dev/null 2>&1
    check "server: lacks nothing again" until_true complete server
    check "a job afterwards" client vm create --profile Micro --wait
}

# report NAME: what its health command prints.
report() {
    podman exec "$run-$1" "/usr/bin/vmctl-$1" health
}

degraded() {
    report "$1" | jq -e --arg check "$2" '.checks[$check].status == "degraded"'
}

complete() {
    report "$1" | jq -e '[.checks[].status] | all(. == "ok")'
}

part_client() {
    suite_up
    check "client: says its version" once "$(name_of vmctl)" --version
    check "client: the login stays on its volume" client whoami
    check "client: without a volume it says that there is no login" \
        fails_with 4 'not logged in' once --network host "$(name_of vmctl)" --endpoint "http://127.0.0.1:$api_port" whoami
}

playbooks() {
    mkdir -p "$dir/playbooks"
    cat >"$dir/playbooks/try.yml" <<'YAML'
- hosts: all
  connection: local
  gather_facts: true
  tasks:
    - ansible.builtin.copy:
        content: "{{ who }}"
        dest: "{{ ansible_env.HOME }}/said"
        mode: "0600"
    - ansible.builtin.command: sleep 60
      async: 60
      poll: 0
    - ansible.builtin.shell: (setsid true &)
YAML
    cat >"$dir/playbooks/ssh.yml" <<'YAML'
- hosts: all
  gather_facts: false
  vars: {ansible_port: 1}
  tasks:
    - ansible.builtin.raw: "true"
YAML
}

# zombies NAME: children that have ended and that nobody has waited for.
zombies() {
    local pids
    pids=$(podman top "$run-$1" state | grep -c '^Z' || true)
    equal 0 "$pids"
}

part_ansible() {
    suite_up
    playbooks
    check "worker: ends on SIGTERM" ends worker
    container ansible --network host --tmpfs /tmp --volume "$dir/playbooks:/etc/vmctl/playbooks:ro" \
        --volume "$dir/amqp-url:/run/secrets/amqp-url:ro" --volume "$dir/redis-url:/run/secrets/redis-url:ro" \
        --env VMCTL_AMQP_URL_FILE=/run/secrets/amqp-url --env VMCTL_REDIS_URL_FILE=/run/secrets/redis-url \
        --env "VMCTL_HEALTH_LISTEN=127.0.0.1:$(free_port)" "$(name_of worker-ansible)"
    check "worker-ansible: healthy" until_true healthy ansible
    check "worker-ansible: user, capabilities" unprivileged ansible
    check "worker-ansible: writes to its volume and /tmp alone" writable ansible /dev/shm /tmp /var/lib/vmctl
    check "worker-ansible: runs a playbook" client job submit ansible.run --wait \
        --input '{"playbook": "try.yml", "hosts": ["localhost"], "extra_vars": {"who": "joe"}}'
    check "worker-ansible: no process of it is left, alive or not" until_true zombies ansible
    check "worker-ansible: ssh gets as far as the network" ssh_refused
    check "worker-ansible: ends on SIGTERM" ends ansible
}

ssh_refused() {
    local status=0 said
    client job submit ansible.run --wait --input '{"playbook": "ssh.yml", "hosts": ["127.0.0.1"]}' || status=$?
    equal 10 "$status" || return
    said=$(client job logs @last)
    printf '%s\n' "$said"
    [[ $said == *'Connection refused'* ]]
}

part_standalone() {
    local port=0
    port=$(free_port)
    authority
    container standalone --network host --env "VMCTL_LISTEN=127.0.0.1:$port" --env VMCTL_SIMULATED_DURATION=2s \
        --volume "$run-data:/var/lib/vmctl" \
        --volume "$dir/tls:/tls:ro" --env VMCTL_TLS_CERT_FILE=/tls/cert.pem --env VMCTL_TLS_KEY_FILE=/tls/key.pem \
        "$(name_of standalone)" --user joe:1234
    check "standalone: healthy" until_true healthy standalone
    check "standalone: user, capabilities" unprivileged standalone
    check "standalone: writes to its volume alone" writable standalone /dev/shm /var/lib/vmctl
    check "client: trusts what stands in the image's certificates" over_tls \
        --volume "$dir/tls/ca.pem:/etc/ssl/certs/ca-certificates.crt:ro"
    check "client: and nothing else" fails_with 20 certificate over_tls
    check "standalone: a job" standalone_client vm create --profile Micro --wait
    check "standalone: ends on SIGTERM" ends standalone
    podman start "$run-standalone" >/dev/null
    check "standalone: healthy after a restart" until_true healthy standalone
    # Tokens end with the process.
    check "standalone: its user logs in again" over_tls \
        --volume "$dir/tls/ca.pem:/etc/ssl/certs/ca-certificates.crt:ro"
    check "standalone: its volume keeps jobs" keeps_jobs
    check "standalone: ends again" ends standalone
}

keeps_jobs() {
    local said
    said=$(standalone_client job list)
    printf '%s\n' "$said"
    [[ $said == *succeeded* ]]
}

# An authority that nobody knows, and a certificate of it for this machine.
authority() {
    mkdir -p "$dir/tls"
    (
        cd "$dir/tls"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=try -keyout ca.key -out ca.pem \
            -addext keyUsage=critical,keyCertSign
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem \
            -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        rm ca.key
        chown 65532:65532 key.pem
        chmod 400 key.pem
    ) >"$dir/said" 2>&1 || fail "no certificates: $(cat "$dir/said")"
}

over_tls() {
    once --network host "$@" --volume "$run-tls-login:/home/vmctl" "$(name_of vmctl)" \
        --endpoint "https://localhost:$port" login --username joe --password-stdin <<<1234
}

standalone_client() {
    once --network host --volume "$run-tls-login:/home/vmctl" \
        --volume "$dir/tls/ca.pem:/etc/ssl/certs/ca-certificates.crt:ro" "$(name_of vmctl)" \
        --endpoint "https://localhost:$port" "$@"
}
