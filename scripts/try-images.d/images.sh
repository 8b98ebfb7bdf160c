# shellcheck shell=bash
# shellcheck disable=SC2154 # $run, $dir, $prefix, … are set by the script that reads this file
# What needs no container: the images, and what is in them.

# Those with nothing but a program, and all.
minimal=(server worker reader standalone vmctl)
all=("${minimal[@]}" worker-ansible keystone)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

name_of() {
    case "$1" in
        vmctl) printf '%s/vmctl:%s\n' "$prefix" "$version" ;;
        *) printf '%s/vmctl-%s:%s\n' "$prefix" "$1" "$version" ;;
    esac
}

make_bases() {
    debian=${debian:-localhost/try/debian:12} runtime=localhost/try/runtime:12
    deploy/make-bases.sh --suite bookworm --debian "$debian" --runtime "$runtime" >"$dir/said" 2>&1 || {
        cat "$dir/said"
        fail "no bases"
    }
}

# build ENGINE PREFIX ARGUMENT…
build() {
    deploy/build-images.sh --engine "$1" --registry "$2" --programs "$programs" \
        --build-arg "DEBIAN_IMAGE=$debian" --build-arg "RUNTIME_IMAGE=$runtime" "${@:3}"
}

part_build() {
    local engine
    for engine in "${engines[@]}"; do
        check "$engine builds every image" build "$engine" "localhost/try/$engine"
    done
    [ "$failed" = 0 ] || fail "there is nothing to try"
}

# id_of PREFIX IMAGE
id_of() {
    prefix=$1 name_of "$2" | xargs podman image inspect --format '{{.Id}}'
}

part_same() {
    local engine image
    for engine in "${engines[@]}"; do
        check "$engine builds the minimal images again" \
            build "$engine" "localhost/try/again-$engine" --no-cache "${minimal[@]}"
        for image in "${minimal[@]}"; do
            check "$image: $engine makes the same image again" \
                equal "$(id_of "localhost/try/$engine" "$image")" "$(id_of "localhost/try/again-$engine" "$image")"
            [ "$engine" = "${engines[0]}" ] || check "$image: $engine makes the same image as ${engines[0]}" \
                equal "$(id_of "localhost/try/${engines[0]}" "$image")" "$(id_of "localhost/try/$engine" "$image")"
        done
    done
}

part_contents() {
    local image
    for image in "${all[@]}"; do
        check "$image: labels" labels "$image"
        check "$image: user, health command and no shell form" configuration "$image"
        check "$image: no file runs as its owner, none of anybody's to write" modes "$image"
    done
    for image in "${minimal[@]}"; do
        check "$image: no shell and no package manager" bare "$image"
    done
}

labels() {
    local found
    found=$(podman image inspect --format '{{json .Config.Labels}}' "$(name_of "$1")")
    jq -e --arg version "$version" --arg revision "$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
        --arg title "$(name_of "$1" | sed 's,.*/,,; s,:.*,,')" '
        ."org.opencontainers.image.version" == $version and ."org.opencontainers.image.revision" == $revision
        and ."org.opencontainers.image.title" == $title and ."org.opencontainers.image.vendor" == "vmctl"
        and (."org.opencontainers.image.licenses" | startswith("Apache-2.0"))
        and (."org.opencontainers.image.description" | length > 0)' <<<"$found" || {
        printf '%s\n' "$found"
        return 1
    }
}

configuration() {
    podman image inspect "$(name_of "$1")" | jq -e --arg image "$1" '.[0] | .Config.User == "65532:65532"
        and (.Config.Entrypoint[0] | startswith("/usr/bin/"))
        and ($image == "vmctl" or .HealthCheck.Test[0] == "CMD" or .Healthcheck.Test[0] == "CMD")'
}

# in_image IMAGE COMMAND…: runs a command of this machine in the files of an image.
in_image() {
    local id files status=0
    id=$(podman image inspect --format '{{.Id}}' "$(name_of "$1")") || return
    files=$(podman image mount "$id") || return
    (cd "$files" && "${@:2}") || status=$?
    podman image unmount "$id" >/dev/null
    return "$status"
}

none_found() {
    equal '' "$(find . "$@")"
}

# setuid programs of Debian are there in what is made of it; no-new-privileges takes their power.
modes() {
    case " ${minimal[*]} " in
        *" $1 "*) in_image "$1" none_found -type f -perm /7022 ;;
        *) in_image "$1" none_found -type f -perm /0002 ;;
    esac
}

bare() {
    in_image "$1" none_found -name 'sh' -o -name '*bash*' -o -name 'dash' -o -name 'busybox*' -o -name 'apt*' -o -name 'dpkg*'
}

part_registry() {
    local port engine digest image
    port=$(free_port)
    cat >"$dir/registry.yml" <<CONF
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $dir/registry}}
http: {addr: 127.0.0.1:$port}
CONF
    docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
    processes+=($!)
    check "a registry answers" until_true curl -fs --noproxy '*' -o /dev/null "http://127.0.0.1:$port/v2/"
    image=127.0.0.1:$port/$run/vmctl-server
    for engine in "${engines[@]}"; do
        check "$engine pushes to a registry without TLS" \
            build "$engine" "127.0.0.1:$port/$run" --push --insecure server vmctl
        podman rmi "$image:$version" "127.0.0.1:$port/$run/vmctl:$version" >/dev/null
        digest=$(curl -fsI --noproxy '*' -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
            "http://127.0.0.1:$port/v2/$run/vmctl-server/manifests/$version" |
            tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
        check "what $engine pushed is pulled by its digest" podman pull --quiet --tls-verify=false "$image@$digest"
        check "and runs by it" once "$image@$digest" --version
        podman rmi "$image@$digest" >/dev/null
    done
}
