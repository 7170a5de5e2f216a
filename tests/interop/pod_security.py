"""The rules of Kubernetes' Pod Security Standard "restricted" (which holds those of "baseline"), as published, for one
pod template. Our own list: what a cluster's admission would refuse is found without a cluster.
"""

VOLUME_TYPES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
                "secret"}
SAFE_SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
                "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
                "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
SECCOMP = {"RuntimeDefault", "Localhost"}
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def containers_of(spec):
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field, [])


def of_context(where, context):
    """What holds for a securityContext of a pod and of a container alike."""
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser is 0"
    if context.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot is false"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}: windowsOptions.hostProcess"
    options = context.get("seLinuxOptions", {})
    if options.get("type") not in SELINUX or options.get("user") or options.get("role"):
        yield f"{where}: seLinuxOptions"
    if context.get("seccompProfile", {"type": "RuntimeDefault"}).get("type") not in SECCOMP:
        yield f"{where}: seccompProfile"
    if context.get("appArmorProfile", {"type": "RuntimeDefault"}).get("type") not in SECCOMP:
        yield f"{where}: appArmorProfile"


def of_container(where, container, pod):
    context = container.get("securityContext", {})
    yield from of_context(where, context)
    if context.get("privileged"):
        yield f"{where}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{where}: capabilities.drop has no ALL"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{where}: capabilities.add"
    if context.get("procMount", "Default") != "Default":
        yield f"{where}: procMount"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{where}: runAsNonRoot is not true"
    if "seccompProfile" not in context and "seccompProfile" not in pod:
        yield f"{where}: no seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{where}: hostPort"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for action in ("httpGet", "tcpSocket"):
            if container.get(probe, {}).get(action, {}).get("host"):
                yield f"{where}: {probe} names a host"


def violations(template):
    spec = template.get("spec", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"pod: {field}"
    pod = spec.get("securityContext", {})
    yield from of_context("pod", pod)
    for entry in pod.get("sysctls", []):
        if entry["name"] not in SAFE_SYSCTLS:
            yield f"pod: sysctl {entry['name']}"
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if kinds - VOLUME_TYPES:
            yield f"volume {volume['name']}: {', '.join(sorted(kinds - VOLUME_TYPES))}"
    for container in containers_of(spec):
        yield from of_container(f"container {container['name']}", container, pod)


# What is planted into a good template, and what must be said of it.
PLANTED = {
    "hostNetwork": lambda s: s.update(hostNetwork=True),
    "hostPID": lambda s: s.update(hostPID=True),
    "hostPath": lambda s: s["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "runAsUser": lambda s: s["securityContext"].update(runAsUser=0),
    "runAsNonRoot": lambda s: s["securityContext"].pop("runAsNonRoot"),
    "seccompProfile": lambda s: s["securityContext"].pop("seccompProfile"),
    "sysctl": lambda s: s["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "privileged": lambda s: s["containers"][0]["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation": lambda s: s["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities.drop": lambda s: s["containers"][0]["securityContext"].pop("capabilities"),
    "capabilities.add": lambda s: s["containers"][0]["securityContext"]["capabilities"].update(add=["IPC_LOCK"]),
    "hostPort": lambda s: s["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}]),
    "procMount": lambda s: s["containers"][0]["securityContext"].update(procMount="Unmasked"),
    "appArmorProfile": lambda s: s["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "seLinuxOptions": lambda s: s["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
}
