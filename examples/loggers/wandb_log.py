"""A run of Zeroth in Weights & Biases: python wandb_log.py RUN [--follow] [--online].

Without --online nothing leaves the machine: the files below --dir are for `wandb sync --append`.
"""
import glob
import os
import struct

import wandb
from follow import FINGERPRINT, arguments, follow, read_config, run_id
from wandb.proto import wandb_internal_pb2


def offline_records(path):
    """The records of a .wandb file; what a killed writer left half-written ends them.

    The file is a LevelDB log behind 7 bytes of its own: blocks of 32 KiB, each piece with a checksum, a length and whether it
    is whole (1), or the first (2), a middle (3) or the last (4) of its record.
    """
    with open(path, "rb") as file:
        log = file.read()
    if log[:4] != b":W&B":
        return
    at, data = 7, b""
    while at + 7 <= len(log):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", log, at + 4)
        piece = log[at + 7:at + 7 + length]
        if kind not in (1, 2, 3, 4) or len(piece) < length:
            return
        data = piece if kind in (1, 2) else data + piece
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            yield record


def offline_rows(path):
    """The history rows in a .wandb file, {name: JSON text}."""
    for record in offline_records(path):
        if record.WhichOneof("record_type") == "history":
            yield {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}


class WandbLogger:
    def __init__(self, args, attempt):
        self.args, self.id = args, run_id(args.run, attempt)
        self.found = dict(self._stored())
        self.run = wandb.init(
            project=args.project, name=args.name + ("-%d" % attempt if attempt > 1 else ""), group=args.name, id=self.id,
            resume="allow", mode="online" if args.online else "offline", dir=args.dir, config=read_config(args.run),
            settings=wandb.Settings(quiet=True, console="off", x_disable_stats=True, disable_git=True, save_code=False))
        self.pending = {}

    def _stored(self):
        if self.args.online:
            try:
                for row in wandb.Api().run("%s/%s" % (self.args.project, self.id)).scan_history(keys=["_step", FINGERPRINT]):
                    yield int(row["_step"]), int(row[FINGERPRINT])
            except (wandb.errors.CommError, ValueError):
                return  # there is no such run yet
        for path in glob.glob(os.path.join(glob.escape(self.args.dir), "wandb", "offline-run-*-" + self.id, "run-*.wandb")):
            for row in offline_rows(path):
                if FINGERPRINT in row and "_step" in row:
                    yield int(row["_step"]), int(row[FINGERPRINT])

    def held(self):
        return dict(self.found)

    def table(self, step, columns, rows):
        self.pending["completions"] = wandb.Table(columns=columns, data=rows)

    def log(self, step, metrics):
        self.run.log({**metrics, **self.pending}, step=step, commit=True)
        self.pending = {}

    def close(self):
        self.run.finish()

    def where(self):
        return "%s (%s)" % (os.path.join(self.args.dir, "wandb"), self.id) if not self.args.online else self.run.url


def more(parser):
    parser.add_argument("--online", action="store_true", help="send to the server as you are logged in there")
    parser.add_argument("--dir", default=".", help="W&B's files go to DIR/wandb (default: here)")


if __name__ == "__main__":
    follow(arguments("Weights & Biases", more), WandbLogger)
