"""A run of Zeroth in MLflow: python mlflow_log.py RUN [--follow] [--uri URI].

URI is a folder (default: ./mlruns, no server), sqlite:///FILE (needs the whole of mlflow) or the address of a server.
"""
import os
import time

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # folders are the only store of mlflow-skinny; mlflow warns of them
import mlflow
from follow import FINGERPRINT, arguments, follow, read_config, run_id
from mlflow.entities import Metric, Param, RunStatus

BATCH = 1000  # metrics and 100 parameters are what a server takes at once
LONGEST = 6000  # characters of a parameter


def flat(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + name + ".")
        else:
            yield prefix + name, str(value)[:LONGEST]


class MlflowLogger:
    def __init__(self, args, attempt):
        self.client = mlflow.MlflowClient(tracking_uri=args.uri)
        experiment = self.client.get_experiment_by_name(args.project)
        experiment = experiment.experiment_id if experiment else self.client.create_experiment(args.project)
        tag, mark = "zeroth.run", run_id(args.run, attempt)
        known = self.client.search_runs([experiment], "tags.`%s` = '%s'" % (tag, mark))
        if known:
            self.id = known[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
        else:
            name = args.name + ("-%d" % attempt if attempt > 1 else "")
            self.id = self.client.create_run(experiment, run_name=name, tags={tag: mark}).info.run_id
            params = [Param(name, value) for name, value in flat(read_config(args.run)) if value]
            for begin in range(0, len(params), 100):
                self.client.log_batch(self.id, params=params[begin:begin + 100])
        self.place = "%s, run %s" % (args.uri, self.id)
        self.found = {m.step: int(m.value) for m in self._history(FINGERPRINT)}
        self.first = True

    def _history(self, name):
        return self.client.get_metric_history(self.id, name)

    def held(self):
        return dict(self.found)

    def table(self, step, columns, rows):
        self.client.log_dict(self.id, {"columns": columns, "data": rows}, "completions/step-%06d.json" % step)

    def log(self, step, metrics):
        if self.first:  # whoever was killed in the middle of this step has logged some of it
            present = self.client.get_run(self.id).data.metrics
            metrics = {k: v for k, v in metrics.items() if k not in present or all(m.step != step for m in self._history(k))}
            self.first = False
        now = int(time.time() * 1000)
        items = [Metric(name, float(value), now, step) for name, value in metrics.items() if name != FINGERPRINT]
        items.append(Metric(FINGERPRINT, float(metrics[FINGERPRINT]), now, step))  # last: the step is whole
        for begin in range(0, len(items), BATCH):
            self.client.log_batch(self.id, metrics=items[begin:begin + BATCH], synchronous=True)

    def close(self):
        self.client.set_terminated(self.id, RunStatus.to_string(RunStatus.FINISHED))

    def where(self):
        return self.place


def more(parser):
    parser.add_argument("--uri", default="mlruns", help="folder, sqlite:///FILE or http://HOST (default mlruns)")


if __name__ == "__main__":
    follow(arguments("MLflow", more), MlflowLogger)
