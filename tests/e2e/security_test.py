"""A cluster under TLS and tokens, with certificates made by openssl: coordinator, agents and a gang over two nodes
work; who may not come in is refused with a reason and what to do; changed files count without a restart.

usage: security_test.py BIN_FOLDER WORK_FOLDER
"""

import json
import shutil
import subprocess
import sys

from harness import PIPELINE, Checks, Gridquant, fresh, need, until
from mesh import Cluster

REFUSED, UNREACHABLE, USAGE = 5, 4, 2


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


class Authority:
    """One that signs certificates for this machine, NAME.crt with NAME.key."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        openssl(folder, "req", "-x509", *self.new_key(name), "-days", "2", "-subj", f"/CN={name}", "-out",
                f"{name}.crt")

    @staticmethod
    def new_key(name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]

    def sign(self, name, days=2, subject=None):
        openssl(self.folder, "req", "-new", *self.new_key(name), "-subj", f"/CN={subject or name}", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", f"{name}.csr")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.crt", "-CAkey",
                f"{self.name}.key", "-CAcreateserial", "-days", str(days), "-copy_extensions", "copy", "-out",
                f"{name}.crt")


class SecureCluster(Cluster):
    def __init__(self, binaries, folder):
        super().__init__(binaries, folder)
        self.keys = fresh(self.folder / "keys")
        self.authority, self.other = Authority(self.keys, "cluster"), Authority(self.keys, "other")
        for name in ("coordinator", "agent", "person"):
            self.authority.sign(name)
        self.other.sign("stranger")
        self.authority.sign("late", days=0)
        self.lines = {name: self.new_token(name, role) for name, role in (("alice", "operator"), ("board", "viewer"))}
        self.write_tokens("alice", "board")
        self.proof = self.with_certificate("person")

    def new_token(self, name, role):
        made = subprocess.run([self.binary, "token", name, "--role", role], check=True, capture_output=True, text=True,
                              timeout=60)
        (self.keys / f"{name}.token").write_text(made.stdout, encoding="utf-8")
        return made.stderr.strip().splitlines()[-1]

    def write_tokens(self, *names):
        beside = self.keys / "tokens.new"
        beside.write_text("".join(self.lines[name] + "\n" for name in names), encoding="utf-8")
        beside.rename(self.keys / "tokens")

    def with_certificate(self, name, authority="cluster"):
        return ["--tls-ca", self.keys / f"{authority}.crt", "--tls-cert", self.keys / f"{name}.crt", "--tls-key",
                self.keys / f"{name}.key"]

    def with_token(self, name):
        return ["--tls-ca", self.keys / "cluster.crt", "--token-file", self.keys / f"{name}.token"]

    def spawn(self, name, arguments):
        more = self.with_certificate("coordinator" if arguments[0] == "coordinator" else "agent")
        if arguments[0] == "coordinator":
            more += ["--token-file", self.keys / "tokens"]
        return super().spawn(name, [*arguments, *more])

    def call(self, verb, *arguments):
        return super().call(verb, *arguments, *self.proof)

    def call_as(self, proof, verb, *arguments):
        return super().call(verb, *arguments, *proof)


def soon(holds):
    return until(holds, 15, pause=0.2)


def refusals(cluster, checks):
    only_ca = ["--tls-ca", cluster.keys / "cluster.crt"]
    cases = (
        ("nobody", only_ca, REFUSED, "wants to know who calls: pass a token (--token-file"),
        ("wrong authority", cluster.with_certificate("stranger"), REFUSED, "CN=stranger"),
        ("expired", cluster.with_certificate("late"), USAGE, "the certificate ended on"),
        ("a coordinator of another authority", cluster.with_certificate("person", "other"), REFUSED,
         "does not prove who it is"),
        ("no TLS", [], UNREACHABLE, "does it want TLS (--tls-ca)?"),
    )
    for name, proof, status, words in cases:
        outcome = cluster.call_as(proof, "list")
        checks.that(outcome.status == status and words in outcome.err, f"{name} is refused", outcome)
    for name in ("alice", "board"):
        outcome = cluster.call_as(cluster.with_token(name), "list")
        checks.that(outcome.status == 0, f"{name} may look", outcome)
    submit = cluster.call_as(cluster.with_token("board"), "submit", PIPELINE, "-p", f"model={cluster.folder}", "-p",
                             f"data={cluster.folder}")
    checks.that(submit.status == REFUSED and "board may look and not change: Submit needs the token of an operator" in
                submit.err, "a viewer submits", submit)
    checks.that(json.loads(cluster.call("list", "-o", "json").out) == [], "and no run is there")
    drain = cluster.call_as(cluster.with_token("board"), "nodes", "drain", "a")
    checks.that(drain.status == REFUSED and "board may look and not change" in drain.err, "a viewer drains", drain)


def changes(cluster, checks):
    alice = cluster.with_token("alice")
    cluster.write_tokens("board")
    checks.that(soon(lambda: cluster.call_as(alice, "list").status == REFUSED), "a revoked token is refused")
    outcome = cluster.call_as(alice, "list")
    checks.that("it was revoked" in outcome.err, "and told so", outcome)
    cluster.write_tokens("board", "alice")
    checks.that(soon(lambda: cluster.call_as(alice, "list").status == 0), "a token that is back counts")
    # A new authority for the coordinator's own certificate: its clients see it without a restart.
    cluster.other.sign("renewed", subject="coordinator")
    for end in ("key", "crt"):
        shutil.copy(cluster.keys / f"renewed.{end}", cluster.keys / f"coordinator.{end}")
    token = ["--tls-ca", cluster.keys / "other.crt", "--token-file", cluster.keys / "alice.token"]
    checks.that(soon(lambda: cluster.call_as(token, "list").status == 0), "the coordinator shows its new certificate")


def listening(cluster, checks):
    run = Gridquant(cluster.binary.parent, cluster.folder / "alone", model=cluster.folder)
    for name, options, words in (
            ("everywhere without TLS", [], "--insecure-listen"),
            ("tokens in the clear", ["--insecure-listen", "--token-file", cluster.keys / "tokens"], "in the clear"),
            ("half of TLS", ["--tls-cert", cluster.keys / "coordinator.crt"], "--tls-ca is missing")):
        outcome = run.call("coordinator", "--listen", "0.0.0.0:0", "--workdir", str(cluster.folder / "other"),
                           *map(str, options))
        checks.that(outcome.status == USAGE and words in outcome.err, f"{name} is refused", outcome)


def main():
    need("openssl")
    checks = Checks()
    with SecureCluster(sys.argv[1], fresh(sys.argv[2])) as cluster:
        for name in ("a", "b"):
            cluster.start_node(name, 1)
        refusals(cluster, checks)
        view = cluster.wait(cluster.submit("tls", {"ranks": 2}, pipeline=PIPELINE))
        checks.that(view["state"] == "succeeded", "a gang over two nodes, every connection under TLS",
                    f"{view}\n{cluster.logs()}")
        cluster.proof = cluster.with_token("alice")
        checks.that(cluster.call("nodes", "drain", "a").status == 0, "an operator's token drains")
        changes(cluster, checks)
        listening(cluster, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
