"""Checks who reaches whom in rendered manifests (.yaml): what is listed below, and nothing else. Exits with 1 if anything differs.

What network policies allow is worked out here, without a network. Each policy and each of its rules is also taken away in a copy, and
that must change something; so must one more policy that allows everything.
"""

import ipaddress
import itertools
import pathlib
import re
import sys

import yaml

# Pods that others bring, by what our policies know them by: the labels of their namespace, and their own.
OTHERS = {
    "ingress": ({"kubernetes.io/metadata.name": "ingress-nginx"}, {}),
    "keda": ({"kubernetes.io/metadata.name": "keda"}, {}),
    "prometheus": ({"vmctl/metrics": "allowed"}, {}),
    "search": ({"vmctl/search": "allowed"}, {}),
    "collector": ({"vmctl/traces": "allowed"}, {}),
    "dns": ({"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"}),
    "stranger": ({"kubernetes.io/metadata.name": "default"}, {}),
}
# What is no pod.
ADDRESSES = {
    "world": ["1.1.1.1", "2606:4700::1111"],
    "private": ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fe80::1"],
    "metadata": ["169.254.169.254", "168.63.129.16", "fd00:ec2::254"],
    "reserved": ["192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2002:a9fe:a9fe::1", "3fff::1", "2001::1"],
}
OUTSIDE = [*OTHERS, *ADDRESSES]

# Who reaches whom at which ports of TCP (u: UDP); `outside` is everybody in OUTSIDE. A Sentinel is in the pod of its Redis.
EVERYWHERE = """
server    worker 8090, rabbitmq 5671, redis 6379, search 9200, collector 4318, dns 53 53u
worker    rabbitmq 5671, redis 6379, collector 4318, dns 53 53u
notifier  rabbitmq 5671, redis 6379, collector 4318, dns 53 53u, world 443 8443
reader    rabbitmq 5671, redis 6379, search 9200, collector 4318, dns 53 53u
rabbitmq  dns 53 53u
redis     dns 53 53u
nobody    dns 53 53u
outside   server 8080
prometheus worker 8081 8082, notifier 8081 8082, reader 8081 8082, rabbitmq 15691
"""
OF = {
    "minikube": """
server         keystone 5000
keystone       dns 53 53u
keystone-seed  keystone 5000, dns 53 53u
outside        keystone 5000
""",
    # Keystone and the API of the cluster are where a site has them, so that these ways lead anywhere outside.
    "production": """
server    redis 26379, outside 443 5000
worker    redis 26379
notifier  redis 26379
reader    redis 26379
redis     redis 6379 26379
rabbitmq  rabbitmq 4369 6000-6500 25672 35672-35682, outside 443 6443
keda      rabbitmq 15671
""",
}


def matches(selector, labels):
    for wanted in selector.get("matchExpressions", []):
        if wanted["operator"] != "In":
            raise ValueError(f"operator {wanted['operator']} is not known here")
        if labels.get(wanted["key"]) not in wanted["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


class Pod:
    def __init__(self, namespace, space_labels, labels):
        self.namespace, self.space_labels, self.labels = namespace, space_labels, labels

    def is_peer(self, peer, policy):
        if "ipBlock" in peer:
            # The cluster's own addresses are private: no policy of ours reaches pods so.
            return False
        if "namespaceSelector" in peer:
            return matches(peer["namespaceSelector"], self.space_labels) and matches(peer.get("podSelector", {}), self.labels)
        return self.namespace == policy["metadata"]["namespace"] and matches(peer["podSelector"], self.labels)

    def is_selected(self, policy, direction):
        same = self.namespace == policy["metadata"]["namespace"]
        return same and direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], self.labels)


class Address:
    def __init__(self, text):
        self.address = ipaddress.ip_address(text)

    def is_peer(self, peer, _policy):
        block = peer.get("ipBlock")
        return block is not None and self.is_in(block["cidr"]) and not any(map(self.is_in, block.get("except", [])))

    def is_in(self, network):
        network = ipaddress.ip_network(network)
        return network.version == self.address.version and self.address in network

    def is_selected(self, _policy, _direction):
        return False


def ports_of(documents):
    """Every port that a policy or a container names, and one that nobody does; the ends of ranges."""
    ports = {("TCP", 9)}
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "NetworkPolicy":
            for rule in spec.get("ingress", []) + spec.get("egress", []):
                for port in rule.get("ports", []):
                    ports |= {(port["protocol"], number) for number in (port["port"], port.get("endPort", port["port"]))}
        for container in spec.get("template", {}).get("spec", {}).get("containers", []):
            ports |= {("TCP", port["containerPort"]) for port in container.get("ports", [])}
    return ports


def has_port(rule, wanted):
    protocol, number = wanted
    of_rule = rule.get("ports")
    return of_rule is None or any(p["protocol"] == protocol and p["port"] <= number <= p.get("endPort", p["port"]) for p in of_rule)


def allows(policies, one, direction, other, port):
    """Whether one may send to another (Egress), or hear from it (Ingress)."""
    selecting = [policy for policy in policies if one.is_selected(policy, direction)]
    peers = "to" if direction == "Egress" else "from"
    for policy in selecting:
        for rule in policy["spec"].get(direction.lower(), []):
            if has_port(rule, port) and (peers not in rule or any(other.is_peer(peer, policy) for peer in rule[peers])):
                return True
    return not selecting


def members_of(documents):
    """Everybody, by name: each stands for one pod, or for some addresses."""
    spaces = {d["metadata"]["name"]: d["metadata"]["labels"] for d in documents if d["kind"] == "Namespace"}
    members = {name: [Pod(f"of-{name}", *labels)] for name, labels in OTHERS.items()}
    members |= {name: [Address(text) for text in texts] for name, texts in ADDRESSES.items()}
    # One of ours that no other policy knows.
    members["nobody"] = [Pod("vmctl", spaces.get("vmctl", {}), {})]
    for document in documents:
        namespace = document["metadata"].get("namespace")
        if document["kind"] == "RabbitmqCluster":
            # Its operator labels the pods so.
            labels = {"app.kubernetes.io/name": document["metadata"]["name"]}
        elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
            labels = document["spec"]["template"]["metadata"]["labels"]
        else:
            continue
        name = labels["app.kubernetes.io/name"].removeprefix("vmctl-")
        members[name] = [Pod(namespace, {"kubernetes.io/metadata.name": namespace} | spaces.get(namespace, {}), labels)]
    return members


def reached(documents):
    """All (who, whom, port) that policies allow, but for those from outside to outside."""
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    members, ports = members_of(documents), ports_of(documents)
    found = set()
    for who, whom in itertools.product(members, members):
        if who in OUTSIDE and whom in OUTSIDE:
            continue
        for one, other, port in itertools.product(members[who], members[whom], ports):
            if allows(policies, one, "Egress", other, port) and allows(policies, other, "Ingress", one, port):
                found.add((who, whom, port))
    return found


def numbers(text, ports):
    protocol = "UDP" if text.endswith("u") else "TCP"
    first, _, last = text.removesuffix("u").partition("-")
    return {port for port in ports if port[0] == protocol and int(first) <= port[1] <= int(last or first)} or {(protocol, int(first))}


def expected(text, ports):
    found = set()
    for line in filter(None, text.splitlines()):
        who, targets = re.split(r"\s+", line, maxsplit=1)
        for target in targets.split(", "):
            whom, *written = target.split()
            for one, other in itertools.product(OUTSIDE if who == "outside" else [who], OUTSIDE if whom == "outside" else [whom]):
                found |= {(one, other, port) for number in written for port in numbers(number, ports)}
    return found


def without(documents, policy):
    """Yields documents in which the policy is not there, or lacks a rule."""
    others = [d for d in documents if d is not policy]
    yield policy["metadata"]["name"], others
    for direction in ("ingress", "egress"):
        rules = policy["spec"].get(direction, [])
        for at in range(len(rules)):
            less = {**policy, "spec": {**policy["spec"], direction: rules[:at] + rules[at + 1 :]}}
            yield f"{policy['metadata']['name']}, {direction} {at + 1}", [*others, less]


def changes(documents):
    for policy in [d for d in documents if d["kind"] == "NetworkPolicy"]:
        yield from without(documents, policy)
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    more = {"kind": "NetworkPolicy", "metadata": {"name": "all", "namespace": "vmctl"}, "spec": spec}
    yield "one that allows everything", [*documents, more]


def check(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    wanted = expected(EVERYWHERE + OF[path.stem.rpartition("-")[0]], ports_of(documents))
    there = reached(documents)
    lines = [f"{who} reaches {whom} at {number}/{protocol}" for who, whom, (protocol, number) in sorted(there - wanted)]
    lines += [f"{who} does not reach {whom} at {number}/{protocol}" for who, whom, (protocol, number) in sorted(wanted - there)]
    lines += [f"nothing depends on the policy {name}" for name, changed in changes(documents) if reached(changed) == there]
    for line in lines:
        print(f"{path.name}: {line}", file=sys.stderr)
    return len(there), bool(lines)


def main():
    counts, wrong = zip(*(check(pathlib.Path(path)) for path in sys.argv[1:]))
    if any(wrong):
        sys.exit(1)
    print(f"{sum(counts)} ways from one to another are open, as listed, and no more", file=sys.stderr)


main()
