# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# What every service needs: the two directories, ports, secrets, and processes known by pid.
#
# A set of services has a state directory ($dir) and a data directory ($data). The state directory
# is small and belongs to the caller; it holds one directory for each service with one value per
# file (pid, port, …), so nothing in it is ever executed. The data directory is temporary and holds
# what the services write, each part owned by the user that the service runs as.
#
# A process is signalled only if it is the one that was started: same pid and same start time.

# Seconds that a process has to end after TERM, and again after KILL.
stop_patience=20
# Where the machine's programs are.
system_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Seconds that a service has to answer, on a machine busy with compiling.
ready_patience=240

say() {
    printf 'services: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# --- the two directories -----------------------------------------------------

default_dir() {
    printf '%s\n' "${XDG_RUNTIME_DIR:-/tmp}/vmctl-services-$(id -u)"
}

# Whether $dir holds a set of services that is ours to read and to stop.
have_set() {
    [ -f "$dir/data" ] && [ -O "$dir" ] && [ ! -L "$dir" ]
}

need_set() {
    have_set || fail "no services in $dir; start them with: scripts/services up"
    data=$(<"$dir/data")
    use_newer
}

# Creates the state directory, or accepts one of ours. A directory that someone else made under a
# predictable name, or one with other files in it, is refused.
open_state() {
    if [ -e "$dir" ] || [ -L "$dir" ]; then
        if [ ! -d "$dir" ] || [ -L "$dir" ] || [ ! -O "$dir" ]; then
            fail "$dir is not a directory of ours; choose another with VMCTL_SERVICES_DIR"
        fi
        [ -f "$dir/lock" ] || [ -z "$(ls -A "$dir")" ] ||
            fail "$dir holds other files; choose another with VMCTL_SERVICES_DIR"
    else
        (umask 077 && mkdir -p "$dir") || fail "cannot create $dir"
    fi
}

# Holds the set's lock until this script ends, so that two calls do not start or remove it at once.
lock_set() {
    local try
    for try in 1 2 3 4 5; do
        exec 9>>"$dir/lock" || fail "cannot write in $dir"
        flock -w 600 9 || fail "$dir is in use by another call"
        # `down` removes the directory while others wait for it: theirs is then a lock on nothing.
        [ "$dir/lock" -ef /proc/self/fd/9 ] && return
        open_state
    done
    fail "$dir keeps disappearing (try $try)"
}

open_data() {
    if [ ! -f "$dir/data" ]; then
        data=$(mktemp -d "${TMPDIR:-/tmp}/vmctl-services.XXXXXXXX")
        # Package users pass through to their own part; they cannot list it.
        chmod 711 "$data"
        put data "$data"
        put id-secret "$(random_hex 32)"
        put password "$(random_hex 16)"
    fi
    data=$(<"$dir/data")
    [ -d "$data" ] || fail "$data is gone; clear the remains with: scripts/services down"
    [ "$newer" = no ] || has_newer || make_newer
    use_newer
}

# Removes both directories. Only what these scripts make is removed.
remove_set() {
    case "$data" in
        */vmctl-services.????????) [ ! -d "$data" ] || rm -rf -- "$data" ;;
        *) fail "$data does not look like a data directory of ours" ;;
    esac
    local part
    for part in "$dir"/*/; do
        [ ! -f "$part/kind" ] || rm -rf -- "$part"
    done
    rm -f -- "$dir"/{data,id-secret,password,newer,env}
    rm -f -- "$dir"/{ports.lock,lock}
    rmdir -- "$dir" || say "kept $dir: it holds other files"
}

# --- one value per file ------------------------------------------------------

# put NAME VALUE: writes a value of the set, so that a reader sees the old one or the new one.
put() {
    (umask 077 && printf '%s\n' "$2" >"$dir/$1.new") && mv -f -- "$dir/$1.new" "$dir/$1"
}

# get NAME: prints a value of the set; nothing if there is none.
get() {
    [ ! -f "$dir/$1" ] || printf '%s\n' "$(<"$dir/$1")"
}

random_hex() {
    od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# take_ports SERVICE NAME…: chooses a free port for each name, once. One service at a time: what was chosen for
# another looks free until that one listens.
take_ports() {
    local service=$1 name ports
    shift
    [ ! -f "$dir/$service/$1" ] || return 0
    exec 8>>"$dir/ports.lock"
    flock -w 60 8 || fail "$dir/ports.lock is held by another call"
    read -r -a ports < <(cat -- "$dir"/*/*port 2>/dev/null |
        /usr/bin/python3 "$here/services.d/free-ports.py" "$#")
    [ "${#ports[@]}" = "$#" ] || fail "no free ports for $service"
    for name in "$@"; do
        put "$service/$name" "${ports[0]}"
        ports=("${ports[@]:1}")
    done
    exec 8>&-
}

# --- processes ---------------------------------------------------------------

# as_user USER COMMAND…: replaces this process by the command, in a clean environment and, if this
# is root, as that user. Package users cannot read the caller's directory, so it runs in /.
as_user() {
    local user=$1
    shift
    local clean=(env -i "PATH=${VMCTL_SERVICES_PATH:+$VMCTL_SERVICES_PATH:}$system_path" LANG=C.UTF-8)
    cd /
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid "$user" --regid "$user" --init-groups "${clean[@]}" "$@"
    fi
    exec "${clean[@]}" "$@"
}

# own USER PATH…: gives paths to the user that a service runs as.
own() {
    local user=$1
    shift
    [ "$(id -u)" != 0 ] || chown -R "$user:$user" -- "$@"
}

# The time at which a process was started, in ticks since boot; nothing for one that has ended.
started_at() {
    local stat fields
    # The file disappears with the process, also between a test and the read.
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    # The command name may hold blanks and brackets; the fields after its last bracket do not.
    read -r -a fields <<<"${stat##*) }"
    case "${fields[0]}" in
        Z | X) ;;
        *) printf '%s\n' "${fields[19]}" ;;
    esac
}

# alive SERVICE: whether the process that was started is still there, and sets $pid.
alive() {
    pid=$(get "$1/pid")
    [ -n "$pid" ] && [ -n "$(get "$1/started")" ] &&
        [ "$(started_at "$pid")" = "$(get "$1/started")" ]
}

frozen() {
    local state
    alive "$1" && { state=$(<"/proc/$pid/stat"); } 2>/dev/null && state=${state##*) } &&
        [ "${state%% *}" = T ]
}

# launch SERVICE USER COMMAND…: starts the command in a session of its own. The pid is recorded by
# the very process that becomes the service.
launch() {
    local service=$1 user=$2 log=$data/$1/log
    shift 2
    rm -f -- "$dir/$service/pid"
    # Descriptor 9 is the lock of the set, which must not outlive this script.
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid bash -c '
        . "$1"; dir=$2
        put "$3/started" "$(started_at "$$")"
        put "$3/pid" "$$"
        shift 3
        as_user "$@"
    ' launch "$here/services.d/lib.sh" "$dir" "$service" "$user" "$@" \
        </dev/null >>"$log" 2>&1 9>&- &
    disown
    until_true 60 has_pid "$service"
}

has_pid() {
    [ -s "$dir/$1/pid" ]
}

# until_true SECONDS COMMAND…: waits until the command succeeds; fails when the time is over.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Waits until a started service answers; ends early, with the tail of its log, if it cannot.
await_ready() {
    local service=$1 end=$((SECONDS + ready_patience))
    shift
    until "$@"; do
        if ! alive "$service"; then
            say "$service ended while starting:"
        elif [ "$SECONDS" -ge "$end" ]; then
            say "$service did not answer within $ready_patience s:"
        else
            sleep 0.1
            continue
        fi
        show_log "$service"
        return 1
    done
}

show_log() {
    tail -n 40 "$data/$1/log" 2>/dev/null | sed 's/^/    /' >&2
}

accepts() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# stop_process SERVICE: TERM, then KILL, each with a bounded wait.
stop_process() {
    local service=$1
    if signal "$service" TERM; then
        # A frozen process acts on the TERM only when it runs again; another may have ended by now.
        signal "$service" CONT || :
        until_true "$stop_patience" ended "$service" || {
            say "$service did not end by itself; killing it"
            signal "$service" KILL || :
            until_true "$stop_patience" ended "$service" || {
                say "$service (pid $(get "$service/pid")) cannot be killed"
                return 1
            }
        }
    fi
    rm -f -- "$dir/$service/pid" "$dir/$service/started"
}

# kill_process SERVICE: KILL, with a bounded wait.
kill_process() {
    signal "$1" KILL || fail "$1 does not run"
    until_true "$stop_patience" ended "$1" || fail "$1 (pid $(get "$1/pid")) cannot be killed"
    rm -f -- "$dir/$1/pid" "$dir/$1/started"
}

ended() {
    ! alive "$1"
}

# signal SERVICE SIGNAL: signals the process only if it is the one that we started.
signal() {
    alive "$1" && kill -s "$2" "$pid" 2>/dev/null
}
