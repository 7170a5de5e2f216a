"""Slurm on this machine, beside which the control plane is measured: an array of no-op jobs, a chain of dependent ones,
and what one submission takes. Called by ./scripts/bench control; runs as root, installs nothing: Debian's packages are
unpacked into the work folder. One node that claims 64 CPUs, no authentication, no accounting.

Prints one line `PEER {...}`. Exit code 77: cannot be run here, with the reason.
"""

import argparse
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins")
DEADLINE_S = 180


def skip(why):
    print(f"Slurm cannot be run here: {why}", file=sys.stderr)
    sys.exit(77)


class Slurm:
    def __init__(self, work):
        self.work = work
        self.root = os.path.join(work, "root")
        self.port = 16817
        self.daemons = []
        plugins = os.path.join(self.root, "usr/lib/x86_64-linux-gnu/slurm-wlm")
        self.environment = dict(os.environ, SLURM_CONF=os.path.join(work, "slurm.conf"), LD_LIBRARY_PATH=plugins,
                                PATH=os.path.join(self.root, "usr/bin") + ":/usr/bin:/bin")

    def unpack(self):
        if os.path.isdir(self.root):
            return
        debs = os.path.join(self.work, "debs")
        os.makedirs(debs, exist_ok=True)
        got = subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=debs, capture_output=True, text=True)
        if got.returncode != 0:
            skip(f"apt-get download: {got.stderr.strip()[-200:]}")
        for deb in glob.glob(debs + "/*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, self.root + ".making"], check=True)
        os.rename(self.root + ".making", self.root)

    def configure(self):
        host = socket.gethostname()
        for folder in ("state", "spool", "logs"):
            shutil.rmtree(os.path.join(self.work, folder), ignore_errors=True)
            os.makedirs(os.path.join(self.work, folder))
        settings = {
            "ClusterName": "bench", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": "root", "SlurmdUser": "root",
            "AuthType": "auth/none", "CredType": "cred/none", "ProctrackType": "proctrack/pgid",
            "TaskPlugin": "task/none", "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU",
            "SchedulerType": "sched/builtin", "MpiDefault": "none", "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none", "ReturnToService": "2", "MaxArraySize": "20000",
            "MaxJobCount": "20000", "SlurmctldPort": str(self.port), "SlurmdPort": str(self.port + 1),
            "StateSaveLocation": f"{self.work}/state", "SlurmdSpoolDir": f"{self.work}/spool",
            "SlurmctldPidFile": f"{self.work}/slurmctld.pid", "SlurmdPidFile": f"{self.work}/slurmd.pid",
            "SlurmctldLogFile": f"{self.work}/logs/slurmctld", "SlurmdLogFile": f"{self.work}/logs/slurmd",
            "PluginDir": self.environment["LD_LIBRARY_PATH"], "SlurmdParameters": "config_overrides",
        }
        with open(self.environment["SLURM_CONF"], "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
            file.write(f"NodeName={host} NodeAddr=127.0.0.1 CPUs=64 State=UNKNOWN\n"
                       f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP\n")

    def start(self):
        sbin = os.path.join(self.root, "usr/sbin")
        # slurmd wants its step daemon at a fixed path: an overlay that only its own mount namespace sees.
        overlay = (f"mount -t overlay overlay -o lowerdir={self.work}/step:/usr/sbin /usr/sbin && "
                   f"exec {sbin}/slurmd-wlm -D")
        os.makedirs(f"{self.work}/step", exist_ok=True)
        for name in ("slurmstepd", "slurmd"):
            link = f"{self.work}/step/{name}"
            if not os.path.exists(link):
                shutil.copy(f"{sbin}/{name}-wlm", link)
        for command in ([f"{sbin}/slurmctld-wlm", "-D", "-c"], ["unshare", "-m", "sh", "-c", overlay]):
            with open(f"{self.work}/logs/{len(self.daemons)}.out", "w", encoding="utf-8") as out:
                self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out,
                                                     start_new_session=True))
        self.wait(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T", check=False), "the node is not idle")

    def run(self, *command, check=True):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S)
        if check and done.returncode != 0:
            skip(f"{command[0]}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def wait(self, until, what):
        end = time.monotonic() + DEADLINE_S
        while not until():
            if time.monotonic() > end or any(daemon.poll() is not None for daemon in self.daemons):
                logs = "".join(open(log, encoding="utf-8", errors="replace").read()[-500:]
                               for log in sorted(glob.glob(f"{self.work}/logs/*")))
                skip(f"{what}; {logs}")
            time.sleep(0.01)

    def empty(self):
        return not self.run("squeue", "-h").strip()

    def stop(self):
        for daemon in self.daemons:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def measure(slurm, jobs, chain):
    script = os.path.join(slurm.work, "true.sh")
    with open(script, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexec true\n")
    options = ["--parsable", "-o", "/dev/null", "-e", "/dev/null"]
    start = time.perf_counter()
    slurm.run("sbatch", *options, f"--array=1-{jobs}", script)
    slurm.wait(slurm.empty, "the array does not end")
    array_s = time.perf_counter() - start
    calls, last = [], ""
    begin = time.perf_counter()
    for _ in range(chain):
        start = time.perf_counter()
        after = [f"--dependency=afterok:{last}"] if last else []
        last = slurm.run("sbatch", *options, *after, script).strip()
        calls.append(time.perf_counter() - start)
    slurm.wait(slurm.empty, "the chain does not end")
    chain_s = time.perf_counter() - begin
    return {"peer": "slurm", "version": slurm.run("sinfo", "--version").split()[-1], "jobs_per_s": jobs / array_s,
            "hop_ms": 1000 * chain_s / chain, "submit_ms": 1000 * sorted(calls)[len(calls) // 2], "jobs": jobs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--chain", type=int, default=20)
    args = parser.parse_args()
    if os.geteuid() != 0:
        skip("it needs root")
    os.makedirs(args.work, exist_ok=True)
    slurm = Slurm(os.path.abspath(args.work))
    slurm.unpack()
    slurm.configure()
    try:
        slurm.start()
        print("PEER " + json.dumps(measure(slurm, args.jobs, args.chain)))
    finally:
        slurm.stop()


if __name__ == "__main__":
    main()
