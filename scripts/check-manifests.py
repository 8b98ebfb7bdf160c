"""Checks rendered manifests (.yaml) and Compose files (.json), which are given. Prints what is wrong; exits with 1 if anything is.

Each object of Kubernetes is held against the schema of its kind, in which unknown fields are errors; then against what must be true of
all of ours: no pod with rights that it does not need, none without bounds, no name that leads nowhere.
"""

import copy
import json
import pathlib
import re
import sys
import tomllib

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parent.parent
# The oldest and the newest version that there are schemas of.
VERSIONS = ("1.25", "1.37")
CUSTOM = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deploy/kubernetes/schemas").glob("*.json")}
# What a site brings itself, or what an operator makes.
FROM_OUTSIDE = {("Secret", "vmctl"), ("ConfigMap", "vmctl-site"), ("ConfigMap", "vmctl-ca"), ("Service", "rabbitmq")}
NAMESPACES = ("vmctl", "vmctl-observe")
# Images that write beside what they are given: below /etc/rabbitmq, and a keystore beside the settings.
WRITERS = ("rabbitmq", "opensearch")
PLACEHOLDER = re.compile(r"TODO|FIXME|XXX|(?i:change|replace)[-_ ]?(?i:me)\b|example\.(com|org|net)|<[a-z_-]+>")

found = []


def complain(where, what):
    found.append(f"{where}: {what}")


def pods(document):
    """Returns the pod specification in an object, if it has one."""
    spec = document.get("spec", {})
    return [spec["template"]["spec"]] if document["kind"] in ("Deployment", "StatefulSet", "Job") else []


def pod_of_cluster(document):
    """The pods that the override of a RabbitmqCluster asks for, as a Kubernetes object; the operator brings the images."""
    spec = copy.deepcopy(document["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"])
    for container in spec["containers"]:
        container.setdefault("image", document["spec"]["image"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": document["metadata"]["name"]}, "spec": spec}


def check_schema(where, document):
    if document["kind"] == "RabbitmqCluster":
        check_schema(f"{where} override", pod_of_cluster(document))
    custom = CUSTOM.get(document["kind"])
    if custom:
        for error in jsonschema.Draft202012Validator(custom).iter_errors(document):
            complain(where, f"{'/'.join(map(str, error.path))}: {error.message}")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            complain(where, f"{version}: {'/'.join(map(str, error.path))}: {error.message}")


def check_pod(where, pod):
    context = pod.get("securityContext", {})
    for name, wanted in {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}.items():
        if context.get(name) != wanted:
            complain(where, f"securityContext.{name} is not {wanted}")
    for name in ("automountServiceAccountToken", "enableServiceLinks"):
        if pod.get(name) is not False:
            complain(where, f"{name} is not false")
    for container in pod["containers"] + pod.get("initContainers", []):
        check_container(f"{where} {container['name']}", container)


def check_container(where, container):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
        complain(where, "keeps privileges")
    if context.get("readOnlyRootFilesystem") is not True and container["name"] not in WRITERS:
        complain(where, "can write to its root")
    for part in ("requests", "limits"):
        if set(container.get("resources", {}).get(part, {})) != {"cpu", "memory"}:
            complain(where, f"has no {part} of CPU and memory")
    tag = container["image"].rpartition(":")[2]
    if "/" in tag or tag == container["image"] or tag == "latest":
        complain(where, f"{container['image']} has no tag")


def names_used(document):
    """Yields the objects that an object refers to by name."""
    for pod in pods(document):
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                yield "Secret", volume["secret"]["secretName"]
            for source in volume.get("projected", {}).get("sources", []):
                if not source["secret"].get("optional"):
                    yield "Secret", source["secret"]["name"]
            if "configMap" in volume:
                yield "ConfigMap", volume["configMap"]["name"]
            if "persistentVolumeClaim" in volume:
                yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                if not source["configMapRef"].get("optional"):
                    yield "ConfigMap", source["configMapRef"]["name"]
    target = document.get("spec", {}).get("scaleTargetRef")
    if target:
        yield "Deployment", target["name"]
    for trigger in document.get("spec", {}).get("triggers", []):
        yield "TriggerAuthentication", trigger["authenticationRef"]["name"]


def items_of(pod):
    """Yields the files of secrets that a pod mounts."""
    for volume in pod.get("volumes", []):
        sources = [volume] + volume.get("projected", {}).get("sources", [])
        for item in (item for source in sources for item in source.get("secret", {}).get("items", [])):
            yield "/run/secrets/vmctl/" + item["path"]


def check_files(where, pod, documents):
    """What a setting names must be mounted."""
    maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
    mounted = set(items_of(pod))
    for container in pod["containers"]:
        settings = {env["name"]: env["value"] for env in container.get("env", [])}
        for source in container.get("envFrom", []):
            settings |= maps.get(source["configMapRef"]["name"], {})
        for key, value in settings.items():
            if value.startswith("/run/secrets/") and value not in mounted:
                complain(where, f"{key} names a secret that is not mounted")


def selected(documents, labels):
    # Each pod of a StatefulSet is labelled with its name.
    pod = labels.get("statefulset.kubernetes.io/pod-name")
    if pod:
        name, _, number = pod.rpartition("-")
        sets = (d for d in documents if d["kind"] == "StatefulSet" and d["metadata"]["name"] == name)
        return any(int(number) < d["spec"]["replicas"] for d in sets)
    # Its operator labels the pods of a RabbitMQ with its name.
    if any(d["kind"] == "RabbitmqCluster" and labels == {"app.kubernetes.io/name": d["metadata"]["name"]} for d in documents):
        return True
    templates = (d["spec"]["template"]["metadata"]["labels"] for d in documents if pods(d))
    return any(labels.items() <= template.items() for template in templates)


def check_references(name, documents, suite):
    """`suite` is what the pods may be in that services select: what stands beside has none of its own."""
    there = {(d["kind"], d["metadata"]["name"]) for d in documents} | FROM_OUTSIDE
    for document in documents:
        where = f"{name} {document['kind']}/{document['metadata']['name']}"
        for used in names_used(document):
            if used not in there:
                complain(where, f"there is no {used[0]} {used[1]}")
        for pod in pods(document):
            check_files(where, pod, documents)
        selector = document["spec"].get("selector") if document["kind"] in ("Service", "PodDisruptionBudget") else None
        if selector and not selected(suite, selector.get("matchLabels", selector)):
            complain(where, f"nothing has the labels {selector}")
    check_settings(name, documents)


def check_known(where, settings):
    """A component must know every setting that it is given: an unknown variable would be ignored in silence."""
    known = set(re.findall(r"`(VMCTL_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))
    known |= {f"{setting}_FILE" for setting in known}
    for key in sorted(set(settings)):
        if key.startswith("VMCTL_") and key not in known:
            complain(where, f"{key} is no setting")


def check_settings(name, documents):
    given = [key for d in documents if d["kind"] == "ConfigMap" for key in d.get("data", {})]
    for document in documents:
        for pod in pods(document):
            given += [env["name"] for container in pod["containers"] for env in container.get("env", [])]
    check_known(name, given)


def check_rendered(path):
    text = path.read_text()
    for match in PLACEHOLDER.finditer(text):
        complain(path.name, f"a placeholder: {match.group()}")
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        where = f"{path.name} {document['kind']}/{document['metadata']['name']}"
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") not in NAMESPACES:
            complain(where, "is in no namespace of ours")
        check_schema(where, document)
        for pod in pods(document):
            check_pod(where, pod)
    return documents


def check_same(images):
    """What others bring is of one version everywhere."""
    tags = {}
    for name, _, tag in (image.rpartition(":") for image in images):
        tags.setdefault(name, set()).add(tag)
    for name, several in tags.items():
        if len(several) > 1:
            complain(name, f"is of several versions: {', '.join(sorted(several))}")


def ours(image):
    """The version of an image of ours, without a registry; None of others."""
    found_version = re.fullmatch(r"vmctl-[a-z-]+:([0-9.]+)", image)
    return found_version and found_version.group(1)


def check_version(where, images, version):
    for image in images:
        if "vmctl-" in image and ours(image) != version:
            complain(where, f"{image} is not of version {version}")


def check_compose(path, version):
    document = json.loads(path.read_text())
    services = document["services"]
    check_version(path.name, (service["image"] for service in services.values()), version)
    secrets = document.get("secrets", {})
    for name, service in services.items():
        where = f"{path.name} {name}"
        for secret in service.get("secrets", []):
            if secret["source"] not in secrets:
                complain(where, f"there is no secret {secret['source']}")
        given = {pathlib.PurePath("/run/secrets", secret["target"]) for secret in service.get("secrets", [])}
        for key, value in (service.get("environment") or {}).items():
            if value.startswith("/run/secrets/") and pathlib.PurePath(value) not in given:
                complain(where, f"{key} names a secret that it does not get")
        check_known(where, service.get("environment") or {})
        for needed, how in (service.get("depends_on") or {}).items():
            if needed not in services:
                complain(where, f"there is no service {needed}")
            elif how["condition"] == "service_healthy" and not has_health(services[needed]):
                complain(where, f"{needed} never says that it is healthy")
        if not name.startswith("keystone-seed") and "stop_grace_period" not in service and ours(service["image"]):
            complain(where, "has no time to drain")
    for kind in ("configs", "secrets"):
        for name, source in document.get(kind, {}).items():
            # Secrets are made when the suite is installed.
            if kind == "configs" and not pathlib.Path(source["file"]).is_file():
                complain(path.name, f"there is no {source['file']} for {name}")
            if not any(part["source"] == name for service in services.values() for part in service.get(kind) or []):
                complain(path.name, f"nobody gets the {kind.removesuffix('s')} {name}")
    return [service["image"] for service in services.values()]


def has_health(service):
    # Images of ours have a health command.
    return "healthcheck" in service or ours(service["image"])


def main():
    with open(ROOT / "Cargo.toml", "rb") as file:
        version = tomllib.load(file)["workspace"]["package"]["version"]
    paths = list(map(pathlib.Path, sys.argv[1:]))
    rendered = {path.name: check_rendered(path) for path in paths if path.suffix == ".yaml"}
    everywhere = []
    for name, documents in rendered.items():
        beside = rendered[name.replace("observe", "production")]
        check_references(name, documents, documents + beside)
        images = [c["image"] for d in documents for pod in pods(d) for c in pod["containers"]]
        check_version(name, images, version)
        everywhere += images
    for path in paths:
        if path.suffix == ".json":
            everywhere += check_compose(path, version)
    check_same(everywhere)
    kinds = sum(map(len, rendered.values()))
    for line in found:
        print(line, file=sys.stderr)
    if found or not kinds:
        sys.exit(1)
    print(f"{kinds} objects of Kubernetes and the Compose files are as they should be", file=sys.stderr)


main()
