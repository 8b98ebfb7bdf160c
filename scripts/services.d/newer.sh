# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir, $data and $here are set by the script that reads this file
# RabbitMQ and Redis of the next Debian release, for a set that was made with --newer.
#
# Their packages are unpacked beside the data, where the users that they run as may read them. They need a newer C
# library than the machine has: each program is started by the loader that came with it.

newer_suite=trixie
newer_packages=(
    rabbitmq-server erlang-{asn1,base,crypto,eldap,inets,mnesia,os-mon,parsetools,public-key,runtime-tools}
    erlang-{ssl,syntax-tools,tools,xmerl} redis-server redis-tools
    # What these are linked with.
    libatomic1 libc6 libcap2 libgcc-s1 libjemalloc2 liblzf1 libssl3t64 libstdc++6 libsystemd0 libtinfo6 libzstd1 zlib1g
)

# has_newer: whether this set was made with --newer.
has_newer() {
    [ -f "$dir/newer" ]
}

# Where the programs of such a set are.
newer_path() {
    printf '%s\n' "$(<"$dir/data")/newer/usr/bin"
}

# use_newer: has the services of such a set start them.
use_newer() {
    has_newer || return 0
    # shellcheck disable=SC2034 # read by rabbitmq.sh
    rabbitmq_bin=$data/newer/usr/lib/rabbitmq/bin
    # Read by `as_user`, also in the shell that becomes the service.
    VMCTL_SERVICES_PATH=$(newer_path)
    export VMCTL_SERVICES_PATH
}

# Where the packages are kept, unpacked.
newer_cache() {
    printf '%s\n' "${CARGO_TARGET_DIR:-$here/../target}/services/$newer_suite"
}

fetch_newer() {
    "$here/fetch-packages" "$newer_suite" "$(newer_cache)" "${newer_packages[@]}" ||
        fail "could not fetch the packages of $newer_suite"
}

# make_newer: gives this set its own copy of the programs, before it has any service.
make_newer() {
    local root=$data/newer loader libraries program
    [ -z "$(services_of_set)" ] || fail "the set in $dir was made without --newer"
    rm -rf -- "$root"
    cp -a -- "$(newer_cache)" "$root"
    loader=$(find "$root/usr/lib" -name 'ld-linux*' | sed -n 1p)
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.*' | sed -n 1p)")
    # Debian's Erlang believes that it is installed.
    sed -i "s#=/usr/lib/erlang#=$root/usr/lib/erlang#" "$root"/usr/lib/erlang/{,erts-*/}bin/erl
    find "$root/usr/bin" "$root/usr/lib/erlang" -type f -perm -u+x ! -name '*.so' |
        while read -r program; do
            # Scripts stay as they are.
            [ "$(head -c 4 "$program" | tr -d '\0')" = $'\x7fELF' ] || continue
            mv -- "$program" "$program.elf"
            # shellcheck disable=SC2016 # expanded by the shell that runs it
            printf '#!/bin/sh\nexec %s --argv0 "$0" --library-path %s %s.elf "$@"\n' \
                "$loader" "$libraries" "$program" >"$program"
            chmod 755 "$program"
        done
    put newer yes
}
