"""Works out who reaches whom by the network policies of rendered manifests, which are given, and compares it with what
is meant. Prints what differs; exits with 1 if anything does. Each policy, and each rule of one, is also taken away in a copy, and that
must be seen: what nothing depends on is an error too.

Knows what the policies here use: selectors of pods and namespaces, ranges of addresses, ports and ranges of ports.
"""

import copy
import ipaddress
import itertools
import sys

import yaml

PORTS = (53, 443, 3000, 4318, 4369, 5000, 5671, 5672, 6000, 6379, 6443, 8080, 8081, 8082, 8090, 8443, 9090, 9200, 15671, 15691, 16686, 25672, 26379, 35672)

# Who is beside the pods of the manifests: namespace, labels of pod and namespace; or an address.
NAME = "app.kubernetes.io/name"
OTHERS = {
    "rabbitmq": ("vmctl", {NAME: "rabbitmq"}),
    "keda": ("keda", {}),
    "dns": ("kube-system", {"k8s-app": "kube-dns"}),
    # Of ours, and known to no policy but those for all.
    "nobody": ("vmctl", {}),
    "nobody-observes": ("vmctl-observe", {}),
    "stranger": ("default", {}),
    "internet": ipaddress.ip_address("1.1.1.1"),
    "internet-v6": ipaddress.ip_address("2606:4700::1111"),
    "private": ipaddress.ip_address("10.1.2.3"),
    "metadata": ipaddress.ip_address("169.254.169.254"),
    "6to4": ipaddress.ip_address("2002:a01:203::1"),
    "documentation": ipaddress.ip_address("203.0.113.1"),
    "benchmarks": ipaddress.ip_address("198.18.0.1"),
    "documentation-v6": ipaddress.ip_address("2001:db8::1"),
}
# `A B -> C D: PORT PORT`. What others may send is their own affair. Copies of streams go over 6000 to 6500.
MEANT = """
vmctl-server vmctl-worker vmctl-notifier vmctl-reader -> rabbitmq: 5671
vmctl-server vmctl-worker vmctl-notifier vmctl-reader redis -> redis: 6379 26379
vmctl-server vmctl-worker vmctl-notifier vmctl-reader -> jaeger: 4318
vmctl-server vmctl-reader -> opensearch: 9200
vmctl-server -> vmctl-worker: 8090
vmctl-server -> stranger keda dns internet internet-v6 private metadata 6to4 documentation benchmarks documentation-v6: 443 5000
vmctl-notifier -> internet internet-v6: 443 8443
rabbitmq -> rabbitmq: 4369 6000 6379 6443 25672 35672
rabbitmq -> stranger keda dns internet internet-v6 private metadata 6to4 documentation benchmarks documentation-v6: 443 6443
prometheus -> vmctl-server: 8080
prometheus -> vmctl-worker vmctl-notifier vmctl-reader: 8081 8082
prometheus -> rabbitmq: 15691
grafana -> prometheus: 9090
keda -> rabbitmq: 15671
stranger keda dns -> vmctl-server: 8080
vmctl-server vmctl-worker vmctl-notifier vmctl-reader rabbitmq redis nobody -> dns: 53
prometheus grafana jaeger opensearch nobody-observes -> dns: 53
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

    def without_one(self):
        """Yields what a policy, or a rule of one, is called, and the cluster without it."""
        for at, policy in enumerate(self.policies):
            name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
            yield name, self.with_policies(self.policies[:at] + self.policies[at + 1 :])
            for direction in ("ingress", "egress"):
                rules = policy["spec"].get(direction, [])
                for number in range(len(rules)):
                    spec = {**policy["spec"], direction: rules[:number] + rules[number + 1 :]}
                    others = self.policies[:at] + [{**policy, "spec": spec}] + self.policies[at + 1 :]
                    yield f"{name} {direction} {number + 1}", self.with_policies(others)

    def with_policies(self, policies):
        other = copy.copy(self)
        other.policies = policies
        return other

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
    unseen = [name for name, other in cluster.without_one() if set(other.reached()) == found]
    for name in unseen:
        print(f"nothing depends on {name}", file=sys.stderr)
    if found != wanted or unseen:
        sys.exit(1)
    print(f"{len(found)} ways between pods and to others are open, as it is meant", file=sys.stderr)


main()
