"""A run of Zeroth in trackio, on this machine: python trackio_log.py RUN [--follow]; then `trackio show`.

trackio keeps its data in TRACKIO_DIR, by default below ~/.cache/huggingface.
"""
import trackio
from follow import FINGERPRINT, arguments, follow, read_config, run_id
from trackio.sqlite_storage import SQLiteStorage

MARK = "zeroth_run"  # in a run's config: which run of ours it is


class TrackioLogger:
    def __init__(self, args, attempt):
        self.project, mark = args.project, run_id(args.run, attempt)
        records = SQLiteStorage.get_run_records(self.project)
        mine = [r for r in records if (SQLiteStorage.get_run_config(self.project, r["name"], run_id=r["id"]) or {}).get(MARK) == mark]
        self.name = args.name + ("-%d" % attempt if attempt > 1 else "")
        if mine:
            self.name = mine[0]["name"]
        elif any(r["name"] == self.name for r in records):  # another run's: names are how trackio resumes
            self.name += "-" + mark[:6]
        self.found = {}
        for row in self.rows():
            if FINGERPRINT in row:
                self.found[int(row["step"])] = int(row[FINGERPRINT])
        self.run = trackio.init(project=self.project, name=self.name, group=args.name, resume="allow", embed=False,
                                auto_log_gpu=False, auto_log_cpu=False, config={**read_config(args.run), MARK: mark})
        self.pending = {}

    def rows(self):
        return SQLiteStorage.get_logs(self.project, self.name)

    def held(self):
        return dict(self.found)

    def table(self, step, columns, rows):
        self.pending["completions"] = trackio.Table(columns=columns, data=rows)

    def log(self, step, metrics):
        self.run.log({**metrics, **self.pending}, step=step)  # one row of its data base: whole or not at all
        self.pending = {}

    def close(self):
        self.run.finish()

    def where(self):
        return "project %s, run %s" % (self.project, self.name)


if __name__ == "__main__":
    follow(arguments("trackio"), TrackioLogger)
