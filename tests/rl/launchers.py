#!/usr/bin/env python3
"""usage: launchers.py ZEROTH slurm         a Slurm of one node: srun, and examples/ranks/slurm.sh by sbatch through a lost rank,
                                         a SIGTERM and an administrator's requeue
       launchers.py ZEROTH mpirun        Open MPI's launcher, with both engines: the bytes of one process, and a lost rank
       launchers.py ZEROTH torchrun      PyTorch's launcher
       launchers.py ZEROTH kubernetes    examples/ranks/kubernetes.yaml as a kubelet would start it, through a lost pod
What each starts is `zeroth train`, unchanged. Run from the project's root. All happens in namespaces of its own (mounts, network
with a loopback only, processes): nothing listens on the machine, and nothing is left when it ends. Exit code 77: cannot be run
here; the line says what is missing."""
import fcntl, os, pathlib, re, shutil, signal, socket, struct, subprocess, sys, time

NEEDED = {"slurm": ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo"), "mpirun": ("mpirun",),
          "torchrun": ("torchrun",), "kubernetes": ()}
PACKAGES = {"slurm": "slurmctld, slurmd, slurm-client, munge", "mpirun": "openmpi-bin", "torchrun": "PyTorch", "kubernetes": ""}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def enter_namespaces():
    """Starts this again in namespaces of its own."""
    for program in NEEDED[sys.argv[2]]:
        if shutil.which(program) is None:
            skip(f"{program} is not installed ({PACKAGES[sys.argv[2]]})")
    if sys.argv[2] == "slurm" and os.geteuid() != 0:
        skip("Slurm's daemons want to be root's")
    command = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        skip(f"no namespaces here: {probe.stderr.strip()}")
    os.execvp("unshare", [*command, sys.executable, *sys.argv, "inside"])


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if sys.argv[-1] != "inside":
        enter_namespaces()

import ranks as ranks_module  # looks at the arguments, too
from ranks import base, compare, config_of, fingerprint, root, run, zeroth


def set_up_node(names, address="127.0.0.1"):
    """The loopback interface, with an address of its own where that is asked for, and the machine's names that lead to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        interfaces = [b"lo"]
        if address != "127.0.0.1":
            interfaces.append(b"lo:1")
            fcntl.ioctl(s, 0x8916, struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address)))  # SIOCSIFADDR
        for name in interfaces:
            flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, name.ljust(32, b"\0"))[:18])[1]  # SIOCGIFFLAGS, then SIOCSIFFLAGS
            fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", name, flags | 1))
    socket.sethostname(names[0])
    hosts = root / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{address} {' '.join(names)}\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    root.chmod(0o755)
    programs = root / "bin"
    programs.mkdir()
    (programs / "zeroth").symlink_to(zeroth)
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"


def wait_for(what, condition, seconds=120, show=None):
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            sys.exit(f"{what} did not happen within {seconds} s\n{show() if show else ''}")
        time.sleep(0.1)


def ranks_of(variable):
    """Process ids of the running ranks, by rank, as the launcher's variable says."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0].rpartition(b"/")[2] != b"zeroth" or words[1] != b"train":
                continue
            environment = dict(v.split(b"=", 1) for v in (folder / "environ").read_bytes().split(b"\0") if b"=" in v)
        except OSError:
            continue  # it ended just now
        if variable.encode() in environment:
            found[int(environment[variable.encode()])] = int(folder.name)
    return found


def steps_of(folder):
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def expected_bytes(steps=30):
    """The config that all use, and what one process makes of it."""
    config = config_of("moe", steps=steps)
    began = time.time()
    run([*config, "--out", str(root / "one")], 1)
    print(f"one process: {time.time() - began:.1f} s")
    return config, fingerprint(root / "one")


def launch(command, **more):
    """Runs it to its end; what it said."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **more)
    return done.returncode, done.stdout


def expect_bytes(expected, folder, command, ranks, launcher):
    code, text = launch(command)
    assert code == 0 and f"{ranks} ranks, started by {launcher}" in text, (code, text)
    compare(expected, folder, f"{ranks} ranks by {launcher}")


SLURM_CONF = """
ClusterName=test
SlurmctldHost=node({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={root}/ctld
SlurmdSpoolDir={root}/d
SlurmctldPidFile={root}/ctld.pid
SlurmdPidFile={root}/d.pid
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=20
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=node NodeAddr={address} CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def start_slurm(address):
    """munged, slurmctld and slurmd of this user; gone with the namespace."""
    for folder in ("munge", "ctld", "d"):
        (root / folder).mkdir(mode=0o755)
    key = root / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (root / "slurm.conf").write_text(SLURM_CONF.format(root=root, address=address))
    os.environ["SLURM_CONF"] = str(root / "slurm.conf")

    def daemon(*command):
        with open(root / f"{command[0]}.log", "w") as log:
            subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    daemon("munged", "-F", "--force", f"--socket={root}/munge/socket", f"--key-file={key}", f"--pid-file={root}/munge/pid",
           f"--log-file={root}/munge/log", f"--seed-file={root}/munge/seed")
    wait_for("munge's socket", (root / "munge/socket").exists, 20, lambda: (root / "munged.log").read_text())
    daemon("slurmctld", "-D", "-i")
    daemon("slurmd", "-D")

    def logs():
        return "".join(f"== {name}\n{(root / f'{name}.log').read_text()[-3000:]}" for name in ("slurmctld", "slurmd"))

    def idle():
        return "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout

    wait_for("an idle node", idle, 60, logs)


def job_state(job):
    """JobState and Restarts of a job that slurmctld still knows."""
    text = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True).stdout
    return dict(re.findall(r"(JobState|Restarts|ExitCode)=(\S+)", text))


def check_slurm():
    address = "10.90.80.70"  # Slurm finds no host where all addresses are 127.*
    set_up_node(["node"], address)
    start_slurm(address)
    config, expected = expected_bytes()
    expect_bytes(expected, root / "srun", ["srun", "-n", "3", "zeroth", "train", *config, "--out", root / "srun"], 3, "Slurm")
    print("srun: 3 ranks, the bytes of one process")

    # The example as it stands, with this node's size.
    folder, output = root / "sbatch", root / "sbatch.log"
    code, job = launch(["sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=3", "--cpus-per-task=1", "--open-mode=append",
                        f"--output={output}", "examples/ranks/slurm.sh", config[0], folder])
    assert code == 0, job
    job = job.strip()

    def interrupt(restarts, what, act):
        def told():
            return f"{job_state(job)}\n{output.read_text() if output.exists() else ''}"
        began = steps_of(folder)
        wait_for(f"work after {restarts} restarts",
                 lambda: job_state(job).get("Restarts") == str(restarts) and len(ranks_of("SLURM_PROCID")) == 3
                 and steps_of(folder) > began + 2, show=told)
        act()
        wait_for(f"a requeue after {what}", lambda: job_state(job).get("Restarts") == str(restarts + 1), show=told)

    interrupt(0, "the end of rank 1 by SIGKILL", lambda: os.kill(ranks_of("SLURM_PROCID")[1], signal.SIGKILL))
    interrupt(1, "SIGTERM", lambda: subprocess.run(["scancel", "--signal=TERM", f"{job}.0"], check=True))
    interrupt(2, "scontrol requeue", lambda: subprocess.run(["scontrol", "requeue", job], check=True))
    wait_for("the end of the job", lambda: job_state(job).get("JobState") == "COMPLETED", show=output.read_text)
    text = output.read_text()
    assert "rank 1 of 3" in text and "3 ranks, started by Slurm" in text, text
    compare(expected, folder, "a job of Slurm that was requeued three times")
    print("sbatch: a lost rank, SIGTERM and a requeue, the bytes of one process")

    # What no rank can read is no reason to try again.
    code, text = launch(["sbatch", "--wait", "--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={root}/bad.log",
                         "examples/ranks/slurm.sh", root / "none.json", root / "bad"])
    assert code != 0 and "none.json" in (root / "bad.log").read_text(), (code, text)
    assert not (root / "bad").exists(), "something was written"


def check_mpirun():
    set_up_node(["node"])
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    config, expected = expected_bytes()
    for ranks in (2, 3, 4):
        out = root / f"mpirun{ranks}"
        expect_bytes(expected, out, ["mpirun", "-n", ranks, "zeroth", "train", *config, "--out", out], ranks, "Open MPI")
    print("mpirun: 2, 3 and 4 ranks, the bytes of one process")
    by_mpi = [*config, "--set", "ranks.engine=mpi"]
    lose_a_rank(["mpirun", "-n", "3", "zeroth", "train", *by_mpi, "--resume", str(root / "lost")], expected, "OMPI_COMM_WORLD_RANK", 3)
    # MPI has not started these: every rank says so, and nothing is written.
    alone = root / "refused"
    codes, texts = ranks_module.finish(ranks_module.start([*by_mpi, "--out", str(alone)], 2), 60)
    assert all(code == 1 for code in codes) and all("not started for MPI" in text for text in texts), (codes, texts)
    assert not alone.exists(), "something was written"
    # Every kind of model and of published weights, at every number of ranks.
    for kind in ("dense", "moe", "mla"):
        for element in ("float32", "bfloat16"):
            small = config_of(kind, [f"policy.weights={element}"], steps=4)
            name = f"{kind}-{element}"
            run([*small, "--out", str(root / name)], 1)
            expected = fingerprint(root / name)
            # Experts of DeepSeek's kind and of Qwen's, each with one element.
            apart = [[]] if (kind, element) not in (("moe", "bfloat16"), ("mla", "float32")) else [[], ["--set", "ranks.expert_parallel=true"]]
            for ranks in (2, 3, 4):
                for more in apart:
                    out = root / f"{name}-{ranks}-{len(more)}"
                    command = ["mpirun", "-n", ranks, "zeroth", "train", *small, "--set", "ranks.engine=mpi", *more, "--out", out]
                    expect_bytes(expected, out, command, ranks, "Open MPI")
    print("ranks.engine=mpi: dense, MoE and MLA, float32 and bfloat16, experts whole and apart, 1 to 4 ranks, the same bytes")


def lose_a_rank(command, expected, variable, ranks):
    """Kills rank 1 and starts the same command again."""
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for("some steps", lambda: steps_of(root / "lost") > 3)
    began = time.time()
    os.kill(ranks_of(variable)[1], signal.SIGKILL)
    text = job.communicate(timeout=120)[0]
    assert job.returncode != 0, text
    wait_for("the end of all ranks", lambda: not ranks_of(variable), 30)
    print(f"{command[0]}: all had ended {time.time() - began:.1f} s after rank 1 was killed")
    code, text = launch(command)
    assert code == 0 and f"{ranks} ranks" in text, (code, text)
    compare(expected, root / "lost", f"{command[0]} after a lost rank")


def check_torchrun():
    set_up_node(["node"])
    config, expected = expected_bytes()
    command = ["torchrun", "--no-python", "--master-addr", "127.0.0.1", "--nproc-per-node", "3", "zeroth", "train", *config]
    expect_bytes(expected, root / "torchrun", [*command, "--out", root / "torchrun"], 3, "torchrun")
    lose_a_rank([*command, "--resume", str(root / "lost")], expected, "RANK", 3)


def check_kubernetes():
    try:
        import yaml
    except ImportError:
        skip("python3-yaml is not installed")
    documents = {d["kind"]: d for d in yaml.safe_load_all(open("examples/ranks/kubernetes.yaml"))}
    job, service = documents["Job"], documents["Service"]
    pods, template = job["spec"]["completions"], job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["parallelism"] == pods, "all ranks run at once"
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == template["subdomain"], "without it pods have no names"
    # A pod's name is JOB-INDEX, and the headless service makes a host of it.
    set_up_node([f"{name}-{i}.{template['subdomain']}" for i in range(pods)])
    container = template["containers"][0]
    data = root / "data"
    data.mkdir()
    config, expected = expected_bytes()
    shutil.copy(config[0], data / "config.json")
    command = [part.replace(container["volumeMounts"][0]["mountPath"], str(data)) for part in container["command"]]
    variables = {v["name"]: v["value"] for v in container["env"]}
    folder = pathlib.Path(command[-1])
    assert command[-2] == "--resume", command

    def start():
        clean = {k: v for k, v in os.environ.items() if k not in ranks_module.NAMES}
        return [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(root / f"pod.{i}", "w"),
                                 env={**clean, **variables, "JOB_COMPLETION_INDEX": str(i)}) for i in range(pods)]

    def texts():
        return [(root / f"pod.{i}").read_text() for i in range(pods)]

    started = start()
    wait_for("some steps", lambda: steps_of(folder) > 3, show=texts)
    os.kill(ranks_of("JOB_COMPLETION_INDEX")[2], signal.SIGKILL)
    codes = [process.wait(120) for process in started]
    assert codes[2] == -9 and all(code == 1 for i, code in enumerate(codes) if i != 2), (codes, texts())
    assert all(f"rank 2 of {pods}" in text for i, text in enumerate(texts()) if i != 2), texts()
    codes = [process.wait(300) for process in start()]  # restartPolicy: OnFailure
    assert not any(codes) and f"{pods} ranks, started by Kubernetes" in texts()[0], (codes, texts())
    compare(expected, folder, "a Job of Kubernetes that lost a pod")
    print(f"kubernetes.yaml: {pods} pods, one lost, the bytes of one process")


if __name__ == "__main__":
    try:
        {"slurm": check_slurm, "mpirun": check_mpirun, "torchrun": check_torchrun, "kubernetes": check_kubernetes}[sys.argv[2]]()
    finally:
        shutil.rmtree(root, ignore_errors=True)
