#!/usr/bin/env bash
# Builds the images of the suite with docker, podman or buildah, whichever is there.
usage() {
    cat <<'TEXT'
usage: deploy/build-images.sh [OPTION…] [IMAGE…]

  --engine NAME       docker, podman or buildah; default: the first that works
  --registry HOST[:PORT][/PATH]   prefix of the names; default: none, for images that stay here
  --tag TAG           default: the version in Cargo.toml
  --push              push to the registry
  --insecure          the registry speaks plain HTTP: a local one, for a lab (podman and buildah;
                      docker has it in its own configuration)
  --programs DIR      take the compiled programs from DIR instead of compiling in a container
  --build-arg A=B     handed on; RUST_IMAGE, DEBIAN_IMAGE and RUNTIME_IMAGE name other bases
  --no-cache          do every step again

images: server worker worker-ansible reader standalone vmctl keystone; default: all.
Each is named [REGISTRY/]vmctl-IMAGE:TAG, the client [REGISTRY/]vmctl:TAG.
TEXT
}

set -euo pipefail
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all=(server worker worker-ansible reader standalone vmctl keystone)
programs=(vmctl vmctl-server vmctl-worker vmctl-reader vmctl-standalone)

fail() {
    printf 'build-images: %s\n' "$*" >&2
    exit 2
}

value() {
    [ -n "${2:-}" ] || fail "$1 needs a value"
    printf '%s\n' "$2"
}

engine='' registry='' tag='' push=no insecure=no ready_made='' flags=() arguments=() images=()
while [ "$#" -gt 0 ]; do
    case "$1" in
        --engine) engine=$(value "$@") && shift ;;
        --registry) registry=$(value "$@") && registry=${registry%/}/ && shift ;;
        --tag) tag=$(value "$@") && shift ;;
        --programs) ready_made=$(cd "$started_in" && realpath -e "$(value "$@")") && shift ;;
        --build-arg) arguments+=(--build-arg "$(value "$@")") && shift ;;
        --push) push=yes ;;
        --insecure) insecure=yes ;;
        --no-cache) flags+=(--no-cache) ;;
        -h | --help) usage && exit 0 ;;
        -*) usage >&2 && fail "unknown option: $1" ;;
        *) images+=("$1") ;;
    esac
    shift
done
[ "${#images[@]}" -gt 0 ] || images=("${all[@]}")
for image in "${images[@]}"; do
    [[ " ${all[*]} " == *" $image "* ]] || fail "unknown image: $image; there are: ${all[*]}"
done
[ "$push" = no ] || [ -n "$registry" ] || fail "--push needs --registry"

# The client of docker answers also where no engine runs.
works() {
    case "$1" in
        docker) docker info >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

if [ -z "$engine" ]; then
    for engine in docker podman buildah none; do
        [ "$engine" = none ] || ! works "$engine" || break
    done
fi
[ "$engine" != none ] || fail "neither docker, podman nor buildah works here"
works "$engine" || fail "$engine does not work here"
[ "$engine" = docker ] || command -v jq >/dev/null || fail "jq is missing"
[ -z "$ready_made" ] || command -v strip >/dev/null || fail "strip is missing: it is a part of binutils"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
tag=${tag:-$version}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
# The same image from the same sources: nothing in it is younger than the last commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

# Podman and buildah give names without a registry this one themselves, but not everywhere.
[ -n "$registry" ] || [ "$engine" = docker ] || registry=localhost/

name_of() {
    case "$1" in
        vmctl) printf '%svmctl:%s\n' "$registry" "$tag" ;;
        *) printf '%svmctl-%s:%s\n' "$registry" "$1" "$tag" ;;
    esac
}

# Without buildx, Docker builds every stage of the file, also those that nobody asked for.
! docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=1
# "docker" keeps health commands, which the other format has no place for.
[ "$engine" = docker ] || flags+=(--format docker --identity-label=false)
# The others keep steps for the next image without being asked.
[ "$engine" != buildah ] || flags+=(--layers)

# Files of images that are programs and no more get one time. Python of the others compares times with those that it
# compiled by: there they stay.
stamp_of() {
    case "$engine-$1" in
        docker-* | *-worker-ansible | *-keystone) ;;
        *) printf -- '--timestamp=0\n' ;;
    esac
}

build() {
    "$engine" build "${flags[@]}" "$@"
}

# settle NAME: takes out of the image what is of this build alone: the names of the containers that made it, and the history
# with the images in between. Says of which commit it is: steps that were kept from an earlier build say that one's. From the same files podman and buildah then make the same image, each time.
settle() {
    local name=$1 config work
    case "$engine" in docker) return ;; esac
    work=$temporary/image
    mkdir "$work"
    "$engine" push --quiet "$name" "docker-archive:$work.tar:$name"
    tar -C "$work" -xf "$work.tar"
    config=$(jq -r '.[0].Config' "$work/manifest.json")
    jq -cS --arg version "$version" --arg revision "$revision" --argjson time "$SOURCE_DATE_EPOCH" '
        del(.container, .container_config, .parent, .history) | .config.Hostname = "" | .created = ($time | todate)
        | .config.Labels += {"org.opencontainers.image.version": $version, "org.opencontainers.image.revision": $revision}
        ' "$work/$config" >"$work/config"
    rm -- "$work/$config" "$work.tar"
    config=$(sha256sum <"$work/config" | cut -d ' ' -f 1).json
    mv -- "$work/config" "$work/$config"
    jq -c --arg config "$config" '.[0].Config = $config' "$work/manifest.json" >"$work/manifest"
    mv -- "$work/manifest" "$work/manifest.json"
    tar -C "$work" -cf "$work.tar" .
    "$engine" pull --quiet "docker-archive:$work.tar"
    rm -r -- "$work" "$work.tar"
}

push() {
    local tls=()
    [ "$insecure" = no ] || [ "$engine" = docker ] || tls=(--tls-verify=false)
    "$engine" push "${tls[@]}" "$1"
}

# An image that has compiled the programs. Podman and buildah leave out the stages that FROM names by an argument, so it
# is built by its name. It stays: the next build goes on from its steps.
compile_programs() {
    made=localhost/vmctl-programs:$tag
    build --file deploy/Dockerfile --target compile --tag "$made" "${arguments[@]}" .
}

# An image with nothing but the programs, so that no container has to compile.
take_programs() {
    local program context=$temporary/programs
    made=localhost/vmctl-programs:$$
    for program in "${programs[@]}"; do
        [ -f "$ready_made/$program" ] || fail "$ready_made has no $program"
        install -D -m 0755 "$ready_made/$program" "$context/out/$program"
        strip --strip-debug "$context/out/$program"
    done
    printf 'FROM scratch\nCOPY out /out\n' >"$context/Dockerfile"
    mapfile -t stamp < <(stamp_of programs)
    build "${stamp[@]}" --tag "$made" "$context"
    rm -r -- "$context"
}

clean() {
    rm -rf -- "$temporary"
    # It may have been made or not. A container that only copied from it may be there still.
    [ -z "$ready_made" ] || "$engine" rmi --force "$made" >/dev/null 2>&1 || true
}

temporary=$(mktemp -d) made=''
trap clean EXIT
if [ "${images[*]}" != keystone ]; then
    if [ -n "$ready_made" ]; then take_programs; else compile_programs; fi
    arguments+=(--build-arg "PROGRAMS=$made")
fi
for image in "${images[@]}"; do
    name=$(name_of "$image")
    printf '== %s\n' "$name" >&2
    mapfile -t stamp < <(stamp_of "$image")
    build "${stamp[@]}" --file deploy/Dockerfile --target "$image" --tag "$name" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "${arguments[@]}" .
    settle "$name"
    [ "$push" = no ] || push "$name"
done
