# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# Keystone: one uwsgi process over SQLite and Fernet, with the users that the tests know.

keystone_prepare() {
    local service=$1 part=$data/$1
    take_ports "$service" port
    mkdir -p -- "$part"/{keys,credential-keys,conf.d}
    # The package user may not be able to read the checkout.
    cp -- "$here/../deploy/keystone/prepare.py" "$part/prepare.py"
    cat >"$part/keystone.conf" <<CONF
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///$part/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = $part/keys
[fernet_receipts]
key_repository = $part/keys
[credential]
key_repository = $part/credential-keys
[auth]
methods = external,password,token,totp,application_credential
[identity]
# The least that bcrypt takes: tests log in often.
password_hash_rounds = 4
[cache]
# Without it a validation costs a second of CPU.
enabled = true
# Unlike dogpile.cache.memory it hands out copies: Keystone alters what it gets, and a second
# one-time code of a user would fail.
backend = dogpile.cache.memory_pickle
CONF
    chmod 700 "$part"/{keys,credential-keys}
    own keystone "$part"
    chmod 711 "$part"
    launch "$service" keystone OS_BOOTSTRAP_PASSWORD="$(get password)" HOME="$part" \
        /usr/bin/python3 "$part/prepare.py" "$part" "$(keystone_url "$service")"
    until_true "$ready_patience" ended "$service" || true
    # Stops what is left of a preparation that took too long.
    stop_process "$service"
    [ -f "$part/complete" ] || {
        say "could not set up $service:"
        show_log "$service"
        return 1
    }
}

keystone_start() {
    local service=$1 part=$data/$1
    # No master process: the recorded pid is the one that answers, so freezing it freezes Keystone.
    # One request at a time: SQLite turns away the second of two writers that have read before
    # ("database is locked"), and Keystone then drops the connection. The whole body is read first,
    # since closing a connection with unread bytes would destroy the answer.
    launch "$service" keystone HOME="$part" OS_KEYSTONE_CONFIG_FILES="$part/keystone.conf" \
        uwsgi --plugin python3 --http-socket "127.0.0.1:$(get "$service/port")" \
        --wsgi-file "$(command -v keystone-wsgi-public)" --lazy-apps --enable-threads \
        --post-buffering 65536 --need-app --die-on-term --buffer-size 65535 --disable-logging
    await_ready "$service" keystone_answers "$service" || return 1
    [ -f "$dir/$service/seeded" ] || keystone_seed "$service"
}

keystone_answers() {
    curl -fs --noproxy '*' -m 5 -o /dev/null "$(keystone_url "$1")"
}

keystone_seed() {
    local password
    password=$(get password)
    # The service's own user has the administrator's password here.
    OS_BOOTSTRAP_PASSWORD=$password timeout "$ready_patience" /usr/bin/python3 \
        "$here/../deploy/keystone/seed.py" "$(keystone_url "$1")" \
        "$here/services.d/keystone-users.json" <<<"$password" >&2 || {
        say "could not seed $1"
        return 1
    }
    put "$1/seeded" yes
}

keystone_url() {
    printf '%s\n' "http://127.0.0.1:$(get "$1/port")/v3"
}

keystone_env() {
    local url
    url=$(keystone_url "$1")
    export_line OS_AUTH_URL "$url"
    export_line VMCTL_KEYSTONE_URL "$url"
    export_line VMCTL_KEYSTONE_USERNAME vmctl
    export_line VMCTL_KEYSTONE_PASSWORD "$(get password)"
    export_line VMCTL_KEYSTONE_PROJECT service
    export_line VMCTL_TEST_KEYSTONE_URL "$url"
    export_line VMCTL_TEST_KEYSTONE_ADMIN admin
    export_line VMCTL_TEST_KEYSTONE_ADMIN_PASSWORD "$(get password)"
    export_line VMCTL_TEST_KEYSTONE_ADMIN_PROJECT admin
    export_line VMCTL_TEST_USER joe
    export_line VMCTL_TEST_PASSWORD 1234
    export_line VMCTL_TEST_PROJECT demo
    export_line VMCTL_TEST_OTHER_USER ann
    export_line VMCTL_TEST_OTHER_PROJECT other
    export_line VMCTL_TEST_READER_USER rita
    export_line VMCTL_TEST_MFA_USER mia
    export_line VMCTL_TEST_MFA_SECRET NVUWCIDJOMQG63TFEBXWMIDVOM7Q
}
