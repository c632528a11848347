#!/usr/bin/env python3
"""usage: fleet_examples.py ZEROTH. The files of examples/fleet are read by parsers of their kinds, and the commands in
them are run as far as the end of their arguments."""
import configparser
import os
import re
import shlex
import subprocess
import sys
import tempfile

zeroth = os.path.realpath(sys.argv[1])
folder = "examples/fleet"
failures = []


def check(fine, what):
    if not fine:
        failures.append(what)
        print("FAILED:", what)


def run_worker(words, where):
    """A worker's command, towards a port where nobody listens: it must be refused by that alone."""
    check(words[1] == "worker", f"{where}: a worker is started")
    with tempfile.TemporaryDirectory() as work:
        token, ca = os.path.join(work, "token"), os.path.join(work, "ca.pem")
        with open(token, "w") as file:
            file.write("a-token-of-an-example\n")
        open(ca, "w").close()  # nobody answers, so it is not read
        command = [zeroth, "worker", re.sub(r"//.*", "//127.0.0.1:1", words[2])]
        options = iter(words[3:])
        for word in options:
            command.append(word)
            if word in ("--stay", "--quiet"):
                continue
            value = next(options)
            replaced = {"--token-file": token, "--ca": ca, "--retry-s": "0", "--spawn": "1", "--threads": "1"}
            command.append(replaced.get(word, value))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        check(done.returncode == 1 and "out of reach" in done.stderr, f"{where}: {shlex.join(command)}: {done.returncode} {done.stderr[-300:]}")


def slurm():
    path = os.path.join(folder, "workers.slurm")
    check(subprocess.run(["bash", "-n", path]).returncode == 0, "workers.slurm is a script")
    text = open(path).read()
    options = re.findall(r"^#SBATCH (.*)$", text, re.M)
    check(bool(options) and all(re.fullmatch(r"--[a-z-]+(=\S+)?", option) for option in options), "its #SBATCH lines are options")
    with tempfile.TemporaryDirectory() as work:  # what it would run
        stand_in = os.path.join(work, "zeroth")
        with open(stand_in, "w") as file:
            file.write('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        os.chmod(stand_in, 0o755)
        words = subprocess.run(["bash", path, "http://trainer:8800", "token"], text=True, check=True, stdout=subprocess.PIPE,
                               env=dict(os.environ, ZEROTH=stand_in, SLURM_CPUS_PER_TASK="8", SLURM_JOB_ID="7", SLURM_ARRAY_TASK_ID="3"),
                               ).stdout.splitlines()
    check("7-3" in words and "8" in words, "names and threads are those of the task")
    run_worker(words, "workers.slurm")


def systemd():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(os.path.join(folder, "zeroth-worker.service"))
    check(parser.sections() == ["Unit", "Service", "Install"], "a unit has its sections")
    service = parser["Service"]
    check(service["Restart"] == "always" and "token:" in service["LoadCredential"], "it restarts, and has its token")
    run_worker(shlex.split(service["ExecStart"]), "zeroth-worker.service")


def kubernetes():
    try:
        import yaml
    except ImportError:
        print("kubernetes.yaml is not read: python3-yaml is not installed")
        return
    documents = list(yaml.safe_load_all(open(os.path.join(folder, "kubernetes.yaml"))))
    kinds = {document["kind"]: document for document in documents}
    check(sorted(kinds) == ["Deployment", "Service", "StatefulSet"], "a service, a trainer and workers")
    for kind in ("Deployment", "StatefulSet"):
        spec = kinds[kind]["spec"]
        check(spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"], f"{kind}: it selects its own pods")
        pod = spec["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            check({mount["name"] for mount in container["volumeMounts"]} <= volumes, f"{kind}: what is mounted is there")
    run_worker(kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]["command"], "kubernetes.yaml")
    trainer = kinds["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["command"]
    check(trainer[1] == "train" and os.path.exists(trainer[2].replace("/opt/zeroth/", "")), "its config is there")
    known = subprocess.run([zeroth, "train", "--help"], capture_output=True, text=True, check=True).stdout
    for field in [word.split("=")[0] for before, word in zip(trainer, trainer[1:]) if before == "--set"]:
        name = field.split(".")
        check(all(re.search(rf"\b{part}\b", known) for part in name), f"kubernetes.yaml: there is a field {field}")
    ports = {port["port"] for port in kinds["Service"]["spec"]["ports"]}
    check(any(word.endswith(f":{port}") for word in trainer for port in ports), "the trainer listens where the service leads")


slurm()
systemd()
kubernetes()
sys.exit(1 if failures else 0)
