#!/usr/bin/env bash
# Makes base images without any registry, from Debian's packages alone.
usage() {
    cat <<'TEXT'
usage: deploy/make-bases.sh [--suite NAME] [--debian IMAGE] [--runtime IMAGE | --no-runtime]

  --suite NAME      of Debian; default: bookworm
  --debian IMAGE    name of the base with apt, by debootstrap; default: localhost/debian:SUITE. One that is there is used
  --runtime IMAGE   name of the base with glibc and libgcc and nothing else; default: localhost/vmctl-runtime:SUITE

Needs root, debootstrap and buildah; podman sees what buildah makes. Hand the names on:
  deploy/build-images.sh --build-arg DEBIAN_IMAGE=localhost/debian:bookworm \
      --build-arg RUNTIME_IMAGE=localhost/vmctl-runtime:bookworm
TEXT
}

set -euo pipefail

fail() {
    printf 'make-bases: %s\n' "$*" >&2
    exit 1
}

suite=bookworm debian='' runtime='' with_runtime=yes
while [ "$#" -gt 0 ]; do
    case "$1" in
        -h | --help) usage && exit 0 ;;
        --no-runtime) with_runtime=no ;;
        --suite | --debian | --runtime)
            [ -n "${2:-}" ] || fail "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        *) usage >&2 && fail "unknown argument: $1" ;;
    esac
    shift
done
debian=${debian:-localhost/debian:$suite}
runtime=${runtime:-localhost/vmctl-runtime:$suite}
command -v buildah >/dev/null || fail "buildah is missing"

dir=$(mktemp -d)
containers=()
clean() {
    [ "${#containers[@]}" = 0 ] || buildah rm "${containers[@]}" >/dev/null
    rm -rf -- "$dir"
}
trap clean EXIT

# from NAME: a new container, which is gone when this script ends.
from() {
    container=$(buildah from --pull-never "$1")
    containers+=("$container")
}

# image FILES NAME: what is in FILES, a directory or an archive, and nothing else.
image() {
    from scratch
    buildah add --quiet "$container" "$1" / >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --format docker --identity-label=false "$container" "$2" >/dev/null
    printf '%s\n' "$2"
}

if buildah inspect --type image "$debian" >/dev/null 2>&1; then
    printf '%s\n' "$debian"
else
    command -v debootstrap >/dev/null || fail "debootstrap is missing"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir/base" >"$dir/log" 2>&1 || {
        tail -n 20 "$dir/log" >&2
        fail "debootstrap failed"
    }
    rm -rf -- "$dir"/base/var/cache/apt/archives/*.deb "$dir"/base/var/lib/apt/lists/*
    image "$dir/base" "$debian"
fi

[ "$with_runtime" = yes ] || exit 0
# The two packages' files, from where they are installed. Paths such as /lib are not links here.
from "$debian"
# shellcheck disable=SC2016 # the shell in the container expands these
buildah run "$container" -- /bin/sh -c 'dpkg -L libc6 libgcc-s1 | grep -v -e ^/usr/share -e /gconv/ | while read -r path; do
        if [ ! -d "$path" ]; then printf "%s\n" "$path"; fi
    done | tar -C / --no-recursion -cf - -T -' >"$dir/runtime.tar" 2>"$dir/log" || {
    cat "$dir/log" >&2
    fail "cannot read the packages of $debian"
}
image "$dir/runtime.tar" "$runtime"
