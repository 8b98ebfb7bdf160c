#!/usr/bin/env bash
# The whole suite on minikube, from nothing to a first VM.
usage() {
    cat <<'TEXT'
usage: deploy/deploy_kubernetes.sh [OPTION…]

  --registry HOST:PORT   build, push and pull the images through this registry, a local one for instance; minikube
                         must have been started with --insecure-registry=HOST:PORT if it speaks plain HTTP.
                         Default: the images are built here and loaded into minikube
  --no-build             the images are there already
  --no-start             minikube runs already, or, with --registry, kubectl speaks to another cluster of one node
  --secrets DIR          where the secrets are, or are to be made; default: deploy/secrets
  --observe              beside it Prometheus, Grafana with the dashboard, Jaeger for traces and OpenSearch to search jobs in
  --delete               remove all of it again, with its data

It may be repeated: what is there stays, what has changed is brought up to date, and the programs start again.
TEXT
}

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

images=(vmctl-server vmctl-worker vmctl-reader vmctl-keystone)
namespace=vmctl
# Pulling images over a slow line is what takes long.
patience=15m
registry='' build=yes start=yes secrets=secrets observe=no delete=no

fail() {
    printf 'deploy_kubernetes: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '== %s\n' "$*" >&2
}

while [ "$#" -gt 0 ]; do
    case "$1" in
        --registry) registry=${2:?"--registry needs HOST:PORT"} && shift ;;
        --secrets) secrets=$(realpath -m "${2:?"--secrets needs a directory"}") && shift ;;
        --no-build) build=no ;;
        --no-start) start=no ;;
        --observe) observe=yes ;;
        --delete) delete=yes ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done

need() {
    command -v "$1" >/dev/null || fail "$1 is not installed"
}

need kubectl
[ "$start" = no ] || need minikube
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../Cargo.toml)

if [ "$delete" = yes ]; then
    kubectl delete namespace "$namespace" "$namespace-observe" --ignore-not-found --timeout="$patience"
    exit
fi

if [ "$start" = yes ]; then
    say 'minikube'
    # Network policies need a network that knows them.
    minikube status >/dev/null 2>&1 ||
        minikube start --cni=calico ${registry:+--insecure-registry="$registry"}
    minikube addons enable metrics-server
    minikube addons enable dashboard
fi

if [ "$build" = yes ]; then
    say 'images'
    ./build-images.sh ${registry:+--registry "$registry" --push --insecure} server worker reader keystone
fi
if [ -z "$registry" ] && [ "$build" = yes ]; then
    command -v minikube >/dev/null || fail 'a cluster that is not minikube pulls its images: name a registry with --registry'
    # minikube takes images out of Docker. Those of podman and buildah have other names.
    docker info >/dev/null 2>&1 || fail 'without Docker, minikube needs a registry: name one with --registry'
    for image in "${images[@]}"; do
        minikube image load "$image:$version"
    done
fi

say 'secrets'
./make-secrets.sh --image "${registry:+$registry/}vmctl-server:$version" "$secrets"
apply() {
    kubectl apply -f -
}
kubectl create namespace "$namespace" --dry-run=client -o yaml | apply
kubectl -n "$namespace" create secret generic vmctl --from-file="$secrets" --dry-run=client -o yaml | apply

if [ "$observe" = yes ]; then
    say 'what it is looked at with'
    kubectl apply -f kubernetes/observe/namespace.yaml
    kubectl -n "$namespace-observe" create configmap vmctl-ca --from-file=ca.pem="$secrets/ca.pem" \
        --dry-run=client -o yaml | apply
    kubectl kustomize kubernetes/observe | apply
    # Every program reads it when it starts. A site that has its own keeps it.
    kubectl -n "$namespace" get configmap vmctl-site >/dev/null 2>&1 ||
        kubectl -n "$namespace" create configmap vmctl-site \
            --from-literal=VMCTL_OTLP_ENDPOINT="http://jaeger.$namespace-observe:4318" \
            --from-literal=VMCTL_SEARCH_URL="http://opensearch.$namespace-observe:9200"
fi

say 'services'
# A job cannot be changed, only made anew; it may run again.
kubectl -n "$namespace" delete job keystone-seed --ignore-not-found
kubectl kustomize kubernetes/minikube | sed "s#image: vmctl-#image: ${registry:+$registry/}vmctl-#" | apply

say 'waiting for Keystone, then for its first users'
kubectl -n "$namespace" rollout status statefulset/keystone --timeout="$patience"
kubectl -n "$namespace" wait --for=condition=complete job/keystone-seed --timeout="$patience"

# The names of images and secrets stay the same, so nothing would notice that they are others.
kubectl -n "$namespace" rollout restart deployment vmctl-server vmctl-worker vmctl-notifier vmctl-reader

say 'waiting for the suite'
for what in statefulset/rabbitmq deployment/redis deployment/vmctl-server deployment/vmctl-worker \
    deployment/vmctl-notifier deployment/vmctl-reader; do
    kubectl -n "$namespace" rollout status "$what" --timeout="$patience"
done

if [ "$observe" = yes ]; then
    for what in prometheus grafana jaeger opensearch; do
        kubectl -n "$namespace-observe" rollout status "deployment/$what" --timeout="$patience"
    done
fi

cat <<TEXT

It runs. In one terminal, keep the way to it open:

  kubectl -n $namespace port-forward service/vmctl-server 8443:443 &
  kubectl -n $namespace port-forward service/keystone 30500:5000 &

and then:

  secrets=$(realpath -- "$secrets")
  vmctl login --endpoint https://localhost:8443 --ca-file \$secrets/ca.pem \\
      --username joe --project demo               # the password is in \$secrets/first-user
  vmctl vm create --profile Micro --wait

The API can be tried at https://localhost:8443/docs, and looked at at https://localhost:8443/ui, in a browser that trusts
\$secrets/ca.pem. The dashboard: minikube dashboard. RabbitMQ's page: kubectl -n $namespace port-forward service/rabbitmq
15671:15671, user vmctl-monitor, the password is in \$secrets/passwords/vmctl-monitor.
TEXT
[ "$observe" = no ] || cat <<TEXT

The dashboard of the suite, its traces, and its metrics and alerts, each while its way is open; nobody logs in:

  kubectl -n $namespace-observe port-forward service/grafana 3000:3000        # http://localhost:3000
  kubectl -n $namespace-observe port-forward service/jaeger 16686:16686       # http://localhost:16686
  kubectl -n $namespace-observe port-forward service/prometheus 9090:9090     # http://localhost:9090

Jobs are searched by \`vmctl job list --search TEXT\`, and in the page.
TEXT
