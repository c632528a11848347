"""Reads a trace stream without this project's code (docs/traces.md and zstd's own library alone) and counts what the
scanners count.

Usage: reference_scan.py ZEROTH_COMMAND.. -- RUN [LEAST [MOST]]
Compares texts, word counts of every list, loops, changes of script and truncation of up to MOST traces with `zeroth
traces export --jsonl`; exit code 1 when one differs or fewer than LEAST are there, 77 when there is no libzstd.
"""
import collections
import ctypes
import ctypes.util
import itertools
import json
import re
import struct
import subprocess
import sys
import unicodedata

LISTS = {
    "r1-nature": "wait mistake however but retry error verify wrong evaluate check".split(),
    "oat-zero": ["recheck", "rethink", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "try again", "check again",
                 "think again", "go over the steps"],
    "drgrpo": ["recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "reconsider",
               "reanalyze", "double-check", "check again", "think again", "verify again", "go over the steps"],
    "verification": ["check", "let me check", "let's check", "verify", "verifying", "double-check", "make sure", "plug", "substitute back",
                     "confirm", "is correct", "matches"],
    "backtracking": ["wait", "instead", "try again", "try another", "another approach", "another way", "doesn't work", "does not work",
                     "not right", "that's wrong", "this is wrong", "go back", "start over", "scratch that", "backtrack"],
    "subgoal": ["first", "step 1", "step 2", "next", "then", "break down", "we need to find", "let's find", "now find", "subgoal"],
    "backward-chaining": ["work backward", "work backwards", "working backward", "working backwards", "start from the target",
                          "starting from the target", "in order to get", "in order to reach", "to get to", "we would need", "we'd need"],
}


def libzstd():
    for name in (ctypes.util.find_library("zstd"), "libzstd.so.1", "libzstd.so"):
        try:
            library = name and ctypes.CDLL(name)
        except OSError:
            continue
        if library:
            library.ZSTD_decompress.restype = ctypes.c_size_t
            library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
            return library
    return None


def unpack(library, frame, plain):
    out = ctypes.create_string_buffer(plain + 1)
    size = library.ZSTD_decompress(out, plain, frame, len(frame))
    assert size == plain, (size, plain)
    return out.raw[:plain]


def records(library, path):
    """Yields (kind, step, group, source, payload) of every record."""
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        magic, size, tag, version, kind, step, group, offset, packed, plain, _, _, source = struct.unpack_from("<II4sHHIIQIIIII", data, at)
        assert (magic, size, tag, version in (1, 2), offset) == (0x184D2A5A, 52, b"ZTRC", True, at), (at, magic, size, tag, version, offset)
        yield kind, step, group, source, unpack(library, data[at + 60:at + 60 + packed], plain)
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


SCRIPTS = {"latin": "LATIN", "greek": "GREEK", "cyrillic": "CYRILLIC", "hebrew": "HEBREW", "arabic": "ARABIC", "thai": "THAI"}
EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")


def script(character):
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "")
    if name.startswith(EAST_ASIAN):
        return "east"
    return next((script for script, begin in SCRIPTS.items() if name.startswith(begin + " ")), None)


def switches(text):
    """Changes of script between words of two letters or more; one East Asian letter is a word."""
    words = [(key, sum(1 for _ in letters)) for key, letters in itertools.groupby(text, script)]
    scripts = [key for key, size in words if key and (size >= 2 or key == "east")]
    return sum(a != b for a, b in zip(scripts, scripts[1:]))


def main(arguments):
    split = arguments.index("--")
    command, run = arguments[:split], arguments[split + 1]
    least = int(arguments[split + 2]) if len(arguments) > split + 2 else 1
    limit = int(arguments[split + 3]) if len(arguments) > split + 3 else 10**9
    library = libzstd()
    if library is None:
        print("skipped: there is no libzstd")
        return 77
    exported = {}
    for line in subprocess.run(command + ["traces", "export", "--jsonl", run], check=True, stdout=subprocess.PIPE).stdout.splitlines():
        row = json.loads(line)
        exported[row["at"]] = row
    vocabulary = None
    compared = 0
    counted = collections.Counter()
    for kind, step, group, source, payload in records(library, run + "/traces/stream.zst"):
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
                checks += [(got["text"], want), (got["language_switches"], switches(want))]
            counted.update({name: whole for name, (whole, _) in words.items()})
            counted.update(loops=got["loop"], switches=got["language_switches"])
            for ours, theirs in checks:
                if ours != theirs:
                    print("%s: exported %r, counted %r" % (name, ours, theirs))
                    return 1
            compared += 1
    print("%d traces agree; counted in them: %s" % (compared, dict(counted)))
    return 0 if compared >= least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
