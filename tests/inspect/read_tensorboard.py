"""Reads RUN/tb with the real TensorBoard and compares every scalar with RUN/metrics.jsonl.

Usage: read_tensorboard.py RUN. Exit code 77 (skipped) when the tensorboard package is not installed.
"""
import json
import struct
import sys


def main(run):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print("skipped: the tensorboard package is not installed")
        return 77
    events = EventAccumulator(run + "/tb", size_guidance={"scalars": 0})
    events.Reload()
    compared = 0
    for line in open(run + "/metrics.jsonl"):
        row = json.loads(line)
        for name, value in row.items():
            if name in ("step", "timing") or isinstance(value, (str, dict, list)) or value is None:
                continue
            got = [e.value for e in events.Scalars(name) if e.step == row["step"]]
            want = struct.unpack("f", struct.pack("f", value))[0]
            if got != [want]:
                print(f"step {row['step']} {name}: TensorBoard has {got}, metrics.jsonl {want}")
                return 1
            compared += 1
    print(f"{compared} scalars agree")
    return 0 if compared else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
