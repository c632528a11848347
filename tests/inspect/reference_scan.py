"""Reads a trace stream without this project's code (docs/traces.md and `zstd` alone) and counts what the scanners count.

Usage: reference_scan.py ZEROTH_COMMAND.. -- RUN [LIMIT]
Compares texts, word counts of every list, loops and truncation with `zeroth traces export --jsonl`; exit code 1 when one
differs, 77 when there is no zstd program.
"""
import json
import re
import shutil
import struct
import subprocess
import sys

LISTS = {
    "r1-nature": "wait mistake however but retry error verify wrong evaluate check".split(),
    "oat-zero": ["recheck", "rethink", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "try again", "check again",
                 "think again", "go over the steps"],
    "drgrpo": ["recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "reconsider",
               "reanalyze", "double-check", "check again", "think again", "verify again", "go over the steps"],
}


def records(path):
    """Yields (kind, step, group, source, payload) of every record."""
    raw = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    data = open(path, "rb").read()
    at = 0
    unpacked = 0
    while at < len(data):
        magic, size, tag, version, kind, step, group, offset, packed, plain, _, _, source = struct.unpack_from("<II4sHHIIQIIIII", data, at)
        assert (magic, size, tag, version, offset) == (0x184D2A5A, 52, b"ZTRC", 1, at), (at, magic, size, tag, version, offset)
        yield kind, step, group, source, raw[unpacked:unpacked + plain]
        unpacked += plain
        at += 60 + packed


def planes(data, count, width):
    return [int.from_bytes(bytes(data[p * count + i] for p in range(width)), "little", signed=True) for i in range(count)]


def samples(payload, vocabulary):
    """Yields (head, sample, tokens, text bytes) of one group."""
    (size,) = struct.unpack_from("<I", payload)
    head = json.loads(payload[4:4 + size])
    rows = head["samples"]
    total = head["np"] + sum(row["n"] for row in rows)
    ids = planes(payload[4 + size:4 + size + 4 * total], total, 4)
    stored = sum(-row["t"] for row in rows if row["t"] < 0)
    texts = payload[len(payload) - stored:]
    at = head["np"]
    for row in rows:
        tokens = ids[at:at + row["n"]]
        at += row["n"]
        if row["t"] < 0:
            text, texts = texts[:-row["t"]], texts[-row["t"]:]
        else:
            text = b"".join(vocabulary[i] for i in tokens)[:row["t"]]
        yield head, row, tokens, text


def loops(tokens):
    for start in range(len(tokens) - 23):
        tail = tokens[start:]
        for period in range(1, len(tail) // 4 + 1):
            if tail[period:] == tail[:-period]:
                return True
    return False


def count(text):
    text = re.sub(r"```.*?(```|\Z)", "\0", text, flags=re.S).lower()
    return {name: [sum(len(re.findall(r"\b" + re.escape(word) + r"\b", text)) for word in words), sum(text.count(word) for word in words)]
            for name, words in LISTS.items()}


def main(arguments):
    split = arguments.index("--")
    command, run = arguments[:split], arguments[split + 1]
    limit = int(arguments[split + 2]) if len(arguments) > split + 2 else 10**9
    if not shutil.which("zstd"):
        print("skipped: there is no zstd program")
        return 77
    exported = {}
    for line in subprocess.run(command + ["traces", "export", "--jsonl", run], check=True, stdout=subprocess.PIPE).stdout.splitlines():
        row = json.loads(line)
        exported[row["at"]] = row
    vocabulary = None
    compared = 0
    for kind, step, group, source, payload in records(run + "/traces/stream.zst"):
        if kind == 2 and vocabulary is None:
            (n,) = struct.unpack_from("<I", payload)
            sizes = struct.unpack_from("<%dI" % n, payload, 4)
            at = 4 + 4 * n
            vocabulary = []
            for size in sizes:
                vocabulary.append(payload[at:at + size])
                at += size
        if kind != 3:
            continue
        for index, (head, row, tokens, text) in enumerate(samples(payload, vocabulary)):
            if compared >= limit:
                break
            name = "%d.%d.%d" % (step, group, index) + ["", ".probe", ".eval", ".discarded"][source]
            got = exported[name]
            want = text.decode("utf-8", "replace")
            words = {key: got["words"][key] for key in LISTS}
            checks = [(got["problem"], head["id"]), (got["tokens"], len(tokens)), (words, count(want)), (got["loop"], loops(tokens)),
                      (got["finish"], ["stop", "length", "aborted"][row["f"]])]
            if "\ufffd" not in want:
                checks.append((got["text"], want))
            for ours, theirs in checks:
                if ours != theirs:
                    print("%s: exported %r, counted %r" % (name, ours, theirs))
                    return 1
            compared += 1
    print("%d traces agree" % compared)
    return 0 if compared else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
