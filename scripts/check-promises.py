"""Checks, in rendered manifests for several nodes (.yaml), what lets work go on while pods and nodes go. Exits with 1 if a promise is
missing.

Each promise is also broken in a copy of the manifests, and that must be noticed: a check that cannot fail shows nothing.
"""

import copy
import pathlib
import re
import sys

import yaml

# Of a program of ours, where it is not told another one: docs/settings.md.
DRAIN = "25s"
SLICE = "10m"
# A kind that says itself how long a slice of it is.
SLICES = {"vmctl-notifier": "15s"}
# The share of its drain that a worker gives to slices.
FOR_SLICES = 0.6
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration):
    number, unit = re.fullmatch(r"([0-9]+)([smh])", duration).groups()
    return int(number) * UNITS[unit]


def workloads(documents):
    return [d for d in documents if d["kind"] in ("Deployment", "StatefulSet")]


def clusters(documents):
    """What the operator of RabbitMQ makes pods of, with probes and times of its own."""
    return [d for d in documents if d["kind"] == "RabbitmqCluster"]


def labels_of(document):
    if document["kind"] == "RabbitmqCluster":
        return {"app.kubernetes.io/name": document["metadata"]["name"]}
    return document["spec"]["template"]["metadata"]["labels"]


def pod_of(document):
    spec = document["spec"]
    return (spec["override"]["statefulSet"]["spec"] if document["kind"] == "RabbitmqCluster" else spec)["template"]["spec"]


def settings(container, documents):
    maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
    given = {}
    for source in container.get("envFrom", []):
        given |= maps.get(source["configMapRef"]["name"], {})
    return given | {env["name"]: env["value"] for env in container.get("env", [])}


def is_ours(container):
    return "vmctl-" in container["image"]


def missing_probes(container):
    # A service that others made starts fast; ours wait for what they stand on.
    wanted = ["livenessProbe", "readinessProbe"] + (["startupProbe"] if is_ours(container) else [])
    return [f"{container['name']} has no {probe}" for probe in wanted if probe not in container]


def missing_spread(workload):
    spread = pod_of(workload).get("topologySpreadConstraints", [])
    held = {s["topologyKey"] for s in spread if s["labelSelector"]["matchLabels"].items() <= labels_of(workload).items()}
    return [f"is not spread over {key}" for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone") if key not in held]


def missing_budget(workload, documents):
    for budget in [d["spec"] for d in documents if d["kind"] == "PodDisruptionBudget"]:
        if budget["selector"]["matchLabels"].items() <= labels_of(workload).items() and budget.get("maxUnavailable") == 1:
            return []
    return ["has no budget of one pod at a time"]


def missing_time(workload, documents):
    pod = pod_of(workload)
    grace = pod.get("terminationGracePeriodSeconds")
    if grace is None:
        return ["does not say how long it may take to end"]
    found = []
    for container in filter(is_ours, pod["containers"]):
        given = settings(container, documents)
        drain = seconds(given.get("VMCTL_DRAIN_TIMEOUT", DRAIN))
        if grace <= drain:
            found.append("is killed before its drain has ended")
        if "VMCTL_WORKER_KINDS" in given:
            longest = SLICES.get(workload["metadata"]["name"], given.get("VMCTL_WORKER_SLICE_LIMIT", SLICE))
            if drain * FOR_SLICES <= seconds(longest):
                found.append("drains for less than its longest slice")
    return found


def missing_denial(documents):
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    spaces = {d["metadata"]["namespace"] for d in workloads(documents)}
    denied = {d["metadata"]["namespace"] for d in documents if d["kind"] == "NetworkPolicy" and d["spec"] == everything}
    return [f"namespace {name} does not deny what is not allowed" for name in spaces - denied]


def missing(documents):
    """Says what is not as promised."""
    found = missing_denial(documents)
    for one in workloads(documents) + clusters(documents):
        of_one = missing_spread(one) + missing_budget(one, documents)
        if one["kind"] != "RabbitmqCluster":
            of_one += [line for container in pod_of(one)["containers"] for line in missing_probes(container)]
            of_one += missing_time(one, documents)
        found += [f"{one['kind']}/{one['metadata']['name']} {line}" for line in of_one]
    return found


def breaks(documents):
    """Yields ways to break a promise: what it is, and documents in which it is broken."""
    for document in documents:
        others = [d for d in documents if d is not document]
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "PodDisruptionBudget" or document["metadata"]["name"] == "default-deny":
            yield f"{name} is gone", others
        if document in workloads(documents) + clusters(documents):
            for what, changed in breaks_of(document):
                yield f"{name} {what}", [*others, changed]


def breaks_of(one):
    pod = pod_of(one)
    for key in {"topologySpreadConstraints", "terminationGracePeriodSeconds"} & pod.keys():
        yield f"without {key}", changed(one, lambda pod, key=key: pod.pop(key))
    for at, container in enumerate(pod["containers"]):
        for key in [key for key in container if key.endswith("Probe")]:
            yield f"without {key}", changed(one, lambda pod, at=at, key=key: pod["containers"][at].pop(key))
        for number, env in enumerate(container.get("env", [])):
            if env["name"] in ("VMCTL_DRAIN_TIMEOUT", "VMCTL_WORKER_SLICE_LIMIT"):
                longer = lambda pod, at=at, number=number: pod["containers"][at]["env"][number].update(value="1h")
                yield f"with {env['name']} of an hour", changed(one, longer)


def changed(one, change):
    other = copy.deepcopy(one)
    change(pod_of(other))
    return other


def main():
    lines, broken = [], 0
    for path in map(pathlib.Path, sys.argv[1:]):
        documents = list(yaml.safe_load_all(path.read_text()))
        found = missing(documents)
        lines += [f"{path.name} {line}" for line in found]
        for what, others in breaks(documents):
            broken += 1
            if missing(others) == found:
                lines.append(f"{path.name}: nobody notices: {what}")
    for line in lines:
        print(line, file=sys.stderr)
    if lines or broken < 30:
        sys.exit(1)
    print(f"what is promised of pods is there, and each of {broken} ways to break it is noticed", file=sys.stderr)


main()
