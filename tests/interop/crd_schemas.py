"""JSON Schemas of the kinds that Kubernetes itself does not know, as far as deploy/kubernetes uses them: written from
the projects' published API references, strict (a field that is not here is an error). Pod templates inside are left to
the core schema of PodTemplate.
"""


def obj(required=(), **fields):
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def one_of(*values):
    return {"enum": list(values)}


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITY = {"anyOf": [{"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}, COUNT]}
DURATION = {"type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2}
SELECTOR = obj(matchLabels=LABELS)
METADATA = obj(["name"], name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
               namespace=TEXT, labels=LABELS, annotations=LABELS)


def kind(api_version, name, spec, namespaced=True):
    schema = obj(["apiVersion", "kind", "metadata", "spec"], apiVersion={"const": api_version}, kind={"const": name},
                 metadata=METADATA, spec=spec)
    schema["namespaced"] = namespaced
    return (api_version, name), schema


REPLICA = obj(["replicas", "template"], replicas={"type": "integer", "minimum": 1},
              restartPolicy=one_of("Never", "OnFailure", "Always", "ExitCode"), template={"type": "object"})
MPI_JOB = obj(
    ["mpiReplicaSpecs"],
    slotsPerWorker={"type": "integer", "minimum": 1}, sshAuthMountPath={"type": "string", "pattern": "^/"},
    runLauncherAsWorker=FLAG, launcherCreationPolicy=one_of("AtStartup", "WaitForWorkersReady"),
    mpiImplementation=one_of("OpenMPI", "Intel", "MPICH"),
    runPolicy=obj(cleanPodPolicy=one_of("None", "Running", "All"), ttlSecondsAfterFinished=COUNT,
                  activeDeadlineSeconds=COUNT, backoffLimit=COUNT, suspend=FLAG,
                  schedulingPolicy=obj(minAvailable=COUNT, queue=TEXT, priorityClass=TEXT)),
    mpiReplicaSpecs=obj(["Launcher", "Worker"], Launcher=REPLICA, Worker=REPLICA))
RESOURCE_GROUP = obj(
    ["coveredResources", "flavors"], coveredResources=TEXTS,
    flavors={"type": "array", "minItems": 1, "items": obj(["name", "resources"], name=TEXT, resources={
        "type": "array", "minItems": 1,
        "items": obj(["name", "nominalQuota"], name=TEXT, nominalQuota=QUANTITY, borrowingLimit=QUANTITY)})})
CLUSTER_QUEUE = obj(["resourceGroups"], namespaceSelector=SELECTOR, cohort=TEXT,
                    queueingStrategy=one_of("BestEffortFIFO", "StrictFIFO"),
                    resourceGroups={"type": "array", "minItems": 1, "items": RESOURCE_GROUP})
CERTIFICATE = obj(
    ["secretName", "issuerRef"], secretName=TEXT, commonName=TEXT, isCA=FLAG, dnsNames=TEXTS, duration=DURATION,
    renewBefore=DURATION, usages={"type": "array", "items": one_of("server auth", "client auth", "digital signature")},
    privateKey=obj(algorithm=one_of("RSA", "ECDSA", "Ed25519"), size=one_of(256, 384, 2048, 4096),
                   rotationPolicy=one_of("Always", "Never")),
    issuerRef=obj(["name"], name=TEXT, kind=one_of("Issuer", "ClusterIssuer"), group=TEXT))

SCHEMAS = dict([
    kind("kubeflow.org/v2beta1", "MPIJob", MPI_JOB),
    kind("kueue.x-k8s.io/v1beta1", "ResourceFlavor", obj(nodeLabels=LABELS), namespaced=False),
    kind("kueue.x-k8s.io/v1beta1", "ClusterQueue", CLUSTER_QUEUE, namespaced=False),
    kind("kueue.x-k8s.io/v1beta1", "LocalQueue", obj(["clusterQueue"], clusterQueue=TEXT)),
    kind("cert-manager.io/v1", "Certificate", CERTIFICATE),
    kind("cert-manager.io/v1", "Issuer", obj(selfSigned=obj(), ca=obj(["secretName"], secretName=TEXT))),
])


def pod_templates(document):
    """Where a pod's description stands in it: (path, template)."""
    spec = document.get("spec", {})
    if document["kind"] == "MPIJob":
        for name, replica in spec.get("mpiReplicaSpecs", {}).items():
            yield f"spec.mpiReplicaSpecs.{name}.template", replica.get("template", {})
    elif document["kind"] == "Pod":
        yield "", {"metadata": document["metadata"], "spec": spec}
    elif isinstance(spec.get("template"), dict):
        yield "spec.template", spec["template"]
