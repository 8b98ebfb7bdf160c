"""Works out who reaches whom by the network policies of rendered manifests, which are given, and compares it with what
is meant. Prints what differs; exits with 1 if anything does.

Knows what the policies here use: selectors of pods and namespaces, ranges of addresses, ports and ranges of ports.
"""

import ipaddress
import itertools
import sys

import yaml

PORTS = (443, 3000, 4318, 5000, 5671, 5672, 6379, 6443, 8080, 8081, 8082, 8090, 8443, 9090, 9200, 15671, 15691, 16686, 25672, 26379)

# Who is beside the pods of the manifests: namespace, labels of pod and namespace; or an address.
NAME = "app.kubernetes.io/name"
OTHERS = {
    "rabbitmq": ("vmctl", {NAME: "rabbitmq"}),
    "keda": ("keda", {}),
    "stranger": ("default", {}),
    "internet": ipaddress.ip_address("1.1.1.1"),
    "internet-v6": ipaddress.ip_address("2606:4700::1111"),
    "private": ipaddress.ip_address("10.1.2.3"),
    "metadata": ipaddress.ip_address("169.254.169.254"),
    "6to4": ipaddress.ip_address("2002:a01:203::1"),
}
# `A B -> C D: PORT PORT`. What others may send is their own affair. Copies of streams go over 6000 to 6500.
MEANT = """
vmctl-server vmctl-worker vmctl-notifier vmctl-reader -> rabbitmq: 5671
vmctl-server vmctl-worker vmctl-notifier vmctl-reader redis -> redis: 6379 26379
vmctl-server vmctl-worker vmctl-notifier vmctl-reader -> jaeger: 4318
vmctl-server vmctl-reader -> opensearch: 9200
vmctl-server -> vmctl-worker: 8090
vmctl-server -> stranger keda internet internet-v6 private metadata 6to4: 443 5000
vmctl-notifier -> internet internet-v6: 443 8443
rabbitmq -> rabbitmq: 6379 6443 25672
rabbitmq -> stranger keda internet internet-v6 private metadata 6to4: 443 6443
prometheus -> vmctl-server: 8080
prometheus -> vmctl-worker vmctl-notifier vmctl-reader: 8081 8082
prometheus -> rabbitmq: 15691
grafana -> prometheus: 9090
keda -> rabbitmq: 15671
stranger keda -> vmctl-server: 8080
"""


def meant():
    for line in MEANT.strip().splitlines():
        sources, _, rest = line.partition(" -> ")
        targets, _, ports = rest.partition(": ")
        yield from itertools.product(sources.split(), targets.split(), map(int, ports.split()))


def matches(selector, labels):
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", expression
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


class Cluster:
    def __init__(self, documents):
        self.policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
        self.namespaces = {name: {"kubernetes.io/metadata.name": name} for name in ("keda", "default", "kube-system")}
        self.peers = dict(OTHERS)
        for document in documents:
            metadata = document["metadata"]
            if document["kind"] == "Namespace":
                self.namespaces[metadata["name"]] = {"kubernetes.io/metadata.name": metadata["name"], **metadata.get("labels", {})}
            if document["kind"] in ("Deployment", "StatefulSet"):
                self.peers[metadata["name"]] = (metadata["namespace"], document["spec"]["template"]["metadata"]["labels"])

    def is_meant_by(self, peer, block, namespace):
        """Says whether a part of `from` or `to`, in a policy of this namespace, is about a peer."""
        if "ipBlock" in block:
            if isinstance(peer, tuple):
                return False
            inside = lambda net: peer in ipaddress.ip_network(net)
            return inside(block["ipBlock"]["cidr"]) and not any(map(inside, block["ipBlock"].get("except", [])))
        if not isinstance(peer, tuple):
            return False
        where, labels = peer
        if "namespaceSelector" in block:
            if not matches(block["namespaceSelector"], self.namespaces[where]):
                return False
        elif where != namespace:
            return False
        return matches(block.get("podSelector", {}), labels)

    def lets(self, peer, other, port, direction, side):
        """Says whether the policies about `peer` let `other` through in one direction."""
        if not isinstance(peer, tuple):
            return True
        namespace, labels = peer
        about = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == namespace
            and direction.capitalize() in policy["spec"]["policyTypes"]
            and matches(policy["spec"]["podSelector"], labels)
        ]
        rules = [rule for spec in about for rule in spec.get(direction, [])]
        return not about or any(self.allows(rule, other, port, side, namespace) for rule in rules)

    def allows(self, rule, other, port, side, namespace):
        ports = rule.get("ports")
        if ports and not any(p["protocol"] == "TCP" and p["port"] <= port <= p.get("endPort", p["port"]) for p in ports):
            return False
        return side not in rule or any(self.is_meant_by(other, block, namespace) for block in rule[side])

    def reached(self):
        for source, target in itertools.product(self.peers, self.peers):
            ours = [isinstance(self.peers[name], tuple) and self.peers[name][0].startswith("vmctl") for name in (source, target)]
            if not isinstance(self.peers[source], tuple) or not any(ours):
                continue
            for port in PORTS:
                out = self.lets(self.peers[source], self.peers[target], port, "egress", "to")
                if out and self.lets(self.peers[target], self.peers[source], port, "ingress", "from"):
                    yield source, target, port


def main():
    documents = [d for path in sys.argv[1:] for d in yaml.safe_load_all(open(path)) if d]
    cluster = Cluster(documents)
    found, wanted = set(cluster.reached()), set(meant())
    for words, pairs in (("may reach", found - wanted), ("does not reach", wanted - found)):
        for source, target, port in sorted(pairs):
            print(f"{source} {words} {target} at {port}", file=sys.stderr)
    if found != wanted:
        sys.exit(1)
    print(f"{len(found)} ways between pods and to others are open, as it is meant", file=sys.stderr)


main()
