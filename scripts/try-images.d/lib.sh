# shellcheck shell=bash
# shellcheck disable=SC2154 # $run, $dir and $store are set by the script that reads this file
# Checks, containers with names of our own, and their end.

# Seconds that anything may take, on a machine that is busy.
patience=180
opened=no checks=0 failed=0 containers=() processes=()

fail() {
    printf 'try-images: %s\n' "$*" >&2
    exit 1
}

install_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ "$(id -u)" = 0 ] || fail "run this as root"
    [ "${#missing[@]}" -gt 0 ] || return 0
    printf 'try-images: installing %s\n' "${missing[*]}" >&2
    # The registry's own daemon is not wanted: the policy of a machine that has one stays.
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
        "${missing[@]}"; } >&2 || status=$?
    [ "$ours" = no ] || rm -f -- "$policy"
    return "$status"
}

# check TEXT COMMAND…: one line, and what the command said if it failed.
check() {
    local text=$1
    shift
    checks=$((checks + 1))
    if "$@" >"$dir/said" 2>&1 </dev/null; then
        printf 'ok    %s\n' "$text"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n' "$text"
        tail -n 15 "$dir/said" | sed 's/^/      /'
    fi
}

# equal WANTED FOUND: says both if they differ.
equal() {
    [ "$1" = "$2" ] || {
        printf 'wanted: %s\nfound:  %s\n' "$1" "$2"
        return 1
    }
}

# fails_with STATUS WORDS COMMAND…: the command must end so, saying so.
fails_with() {
    local status=0 said
    said=$("${@:3}" 2>&1) || status=$?
    printf '%s\n' "$said"
    equal "$1" "$status" && grep -qF -- "$2" <<<"$said"
}

# until_true COMMAND…: patience, then the last words of the command.
until_true() {
    local until=$((SECONDS + patience)) said
    while ! said=$("$@" 2>&1); do
        if [ "$SECONDS" -gt "$until" ]; then
            printf 'not within %s s: %s\n%s\n' "$patience" "$*" "$said"
            return 1
        fi
        sleep 0.2
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# What every orchestrator of ours asks for: deploy/compose.yaml, deploy/kubernetes. What podman adds by itself and others do
# not is left out: file systems in memory, and a name for the user.
strict=(--read-only --read-only-tmpfs=false --passwd=false --cap-drop all --security-opt no-new-privileges
    --memory 512m --pids-limit 512 --pull never)

# container NAME ARGUMENT…: starts one.
container() {
    containers+=("$run-$1")
    podman run --detach --name "$run-$1" "${strict[@]}" "${@:2}" >"$dir/said" 2>&1 || {
        cat "$dir/said"
        fail "$1 does not start"
    }
}

# once ARGUMENT…: runs one to its end.
once() {
    podman run --rm --interactive "${strict[@]}" "$@"
}

pid_of() {
    podman inspect --format '{{.State.Pid}}' "$run-$1"
}

healthy() {
    podman healthcheck run "$run-$1"
}

unhealthy() {
    ! healthy "$1"
}

# ends NAME: it obeys SIGTERM, in time, and says that all is well.
ends() {
    local since=$SECONDS
    podman stop --time 40 "$run-$1" >/dev/null 2>&1
    podman logs --tail 10 "$run-$1"
    equal 0 "$(podman inspect --format '{{.State.ExitCode}}' "$run-$1")" && [ $((SECONDS - since)) -lt 40 ]
}

clean() {
    local status=$? process
    trap - EXIT
    set +e
    if [ "${#containers[@]}" -gt 0 ]; then
        if [ "$failed" -gt 0 ] || [ "$status" != 0 ]; then
            mkdir -p "${TMPDIR:-/tmp}/$run"
            for process in "${containers[@]}"; do
                podman logs "$process" >"${TMPDIR:-/tmp}/$run/$process.log" 2>&1
            done
            printf 'logs of the containers: %s\n' "${TMPDIR:-/tmp}/$run"
        fi
        podman rm --force --volumes --time 1 "${containers[@]}" >/dev/null 2>&1
    fi
    for process in "${processes[@]}"; do
        kill "$process" && wait "$process"
    done 2>/dev/null
    podman volume ls --quiet | grep "^$run-" | xargs -r podman volume rm --force >/dev/null
    [ ! -d "$dir/services" ] || VMCTL_SERVICES_DIR=$dir/services scripts/services down >/dev/null 2>&1
    if [ "$opened" = yes ]; then
        buildah rm --all >/dev/null
        umount "$(podman info --format '{{.Store.GraphRoot}}')/overlay" 2>/dev/null
    fi
    rm -rf -- "$dir"
    exit "$status"
}

# Images and containers of our own: those of this machine can be read, and do not change.
open_store() {
    local machines
    machines=$(podman info --format '{{.Store.GraphRoot}}' 2>"$dir/said") || fail "podman does not work: $(cat "$dir/said")"
    store=$(realpath -m "${store:-$dir/store}")
    mkdir -p "$store"
    cat >"$store/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$store/images"
runroot = "$store/run"
[storage.options]
additionalimagestores = ["$machines"]
CONF
    export CONTAINERS_STORAGE_CONF=$store/storage.conf
    opened=yes
}

finish() {
    printf '%s checks, %s failed\n' "$checks" "$failed"
    [ "$failed" = 0 ]
}
