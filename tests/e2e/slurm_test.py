"""deploy/slurm: a pipeline carried out by gridquant-gang, stage after stage, with mpirun and without a coordinator: the
bytes of `gridquant run`, nothing done twice, the exit status of the worker that failed. And the sbatch script with
stand-ins for Slurm's programs: which launcher it takes, and when it sends itself again.

usage: slurm_test.py BIN_FOLDER WORK_FOLDER
"""

import os
import subprocess
import sys

from harness import DATA, ROOT, Checks, Gridquant, Outcome, TIMEOUT_S, fresh, need

MPIRUN = "mpirun --allow-run-as-root --oversubscribe --bind-to none -np"
SLURM = ROOT / "deploy/slurm"


def environment(run, **more):
    return {**os.environ, "GRIDQUANT_BIN": str(run.binaries), **{key: str(value) for key, value in more.items()}}


def call(run, command, **more):
    return Outcome(subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=run.folder,
                                  timeout=TIMEOUT_S, env=environment(run, **more)))


def pipeline(run):
    return [run.pipeline, "-p", f"model={run.model}", "-p", f"data={DATA}", "-p", "ranks=2"]


def program(path, text):
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)
    return path


def gang(run, checks, expected):
    command = [SLURM / "gridquant-gang", "--launcher", MPIRUN, "--threads=1", f"--workdir={run.folder / 'gang-work'}",
               "--output", run.folder / "gang-out", *pipeline(run)]
    failing = program(run.folder / "failing", "exit 133\n")
    refused = call(run, [command[0], "--launcher", failing, *command[3:]])
    checks.that(refused.status == 133, "the exit status of a gang that failed is passed on", refused)
    checks.that("calibrate" in refused.err and "there already" not in refused.err, "it says which", refused)
    done = call(run, command)
    checks.that(done.status == 0, "the gang finishes what was begun", done)
    checks.that(done.err.count("there already") == 1, "analyze was done before", done)
    checks.that("quantize.json, 2 rank(s)" in done.err, "two ranks", done)
    run.output = run.folder / "gang-out"
    checks.that(run.digests() == expected, "the bytes of gridquant run", done)
    again = call(run, command)
    checks.that(again.status == 0 and again.err.count("there already") == 5, "nothing is done twice", again)
    bad = call(run, [*command, "-p", "bits=5"])
    checks.that(bad.status == 2 and "bits" in bad.err, "a mistake in the pipeline is told", bad)


def sbatch(run, checks):
    tools = fresh(run.folder / "slurm")
    program(tools / "srun", 'echo "${MPI_TYPES-}"\n')
    program(tools / "scontrol", f'echo "scontrol $*" >>"{tools}/log"\n')
    program(tools / "gang", f'echo "gang $*" >>"{tools}/log"\nexit "${{GANG_STATUS-0}}"\n')

    def sent(**more):
        (tools / "log").write_text("", encoding="utf-8")
        outcome = call(run, ["bash", SLURM / "gridquant.sbatch", "x.yaml", "-p", "a=b"], SLURM_JOB_ID=7,
                       PATH=f"{tools}:{os.environ['PATH']}", SLURM_SUBMIT_DIR=run.folder, SLURM_CPUS_PER_TASK=3,
                       GRIDQUANT_GANG=tools / "gang", **more)
        return outcome.status, (tools / "log").read_text(encoding="utf-8")

    status, log = sent(MPI_TYPES="none")
    checks.that(status == 0 and "--launcher mpirun --bind-to none -np --threads 3" in log, "mpirun without PMIx", log)
    checks.that(log.rstrip().endswith("x.yaml -p a=b") and "scontrol" not in log, "arguments are passed on", log)
    checks.that("--launcher srun --mpi=pmix" in sent(MPI_TYPES="specific pmix plugin versions")[1], "srun with PMIx")
    checks.that(sent(GANG_STATUS=132) == (132, sent(GANG_STATUS=132)[1]), "the status is the job's")
    checks.that("scontrol requeue 7" in sent(GANG_STATUS=132)[1], "132 is sent again")
    checks.that("scontrol" not in sent(GANG_STATUS=11)[1], "11 is not")
    checks.that("scontrol" not in sent(GANG_STATUS=132, SLURM_RESTART_COUNT=3)[1], "nor is anything a fourth time")


def main():
    need("mpirun")
    checks = Checks()
    run = Gridquant(sys.argv[1], fresh(sys.argv[2]))
    done = run.run()
    checks.that(done.status == 0, "the undisturbed run succeeds", done)
    gang(run, checks, run.digests())
    sbatch(run, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
