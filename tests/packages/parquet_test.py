"""Parquet files as data: every type, several row groups, a folder as Hugging Face publishes it, damage.

Usage: parquet_test.py ZEROTH, from the project's root. 77 (skipped) without the module or without pyarrow, which writes them.
"""
import json
import os
import subprocess
import sys
import tempfile

zeroth = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.abspath(".deps/arrow"))
version = subprocess.run([zeroth, "--version"], capture_output=True, text=True, check=True).stdout
try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = None
if pa is None or "parquet" not in version:
    print("skipped: no pyarrow" if pa is None else "skipped: no Parquet module (scripts/setup --parquet)")
    sys.exit(77)


def task(path, *more):
    done = subprocess.run([zeroth, "task", "sample", "jsonl:" + ",".join(["path=" + json.dumps(path), *more]), "-n", "100", "--json"], capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


with tempfile.TemporaryDirectory() as folder:
    rows = [{"question": "%d+1? \N{GREEK SMALL LETTER PI}" % i, "answer": str(i + 1), "big": 2**62 + i, "ratio": i / 7, "right": i % 2 == 0, "none": None,
             "tags": ["a", None, str(i)], "inner": {"level": i, "deep": [{"x": i}]}} for i in range(25)]
    table = pa.Table.from_pylist(rows)
    one = os.path.join(folder, "rows.parquet")
    pq.write_table(table, one, row_group_size=7)
    lines = os.path.join(folder, "rows.jsonl")
    with open(lines, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    code, problems, said = task(one)
    assert code == 0, said
    same = task(lines)[1]
    assert len(problems) > 15 and json.dumps(problems) == json.dumps(same).replace(lines, one), "as the same rows in JSON Lines"
    data = os.path.join(folder, "set", "main")
    os.makedirs(data)
    pq.write_table(table.slice(0, 10), os.path.join(data, "train-00000-of-00002.parquet"))
    pq.write_table(table.slice(10, 10), os.path.join(data, "train-00001-of-00002.parquet"), compression="zstd")
    pq.write_table(table.slice(20, 5), os.path.join(data, "test-00000-of-00001.parquet"))
    code, problems, said = task(os.path.join(folder, "set"), "held_out_path=" + json.dumps(os.path.join(folder, "set") + "#test"))
    assert code == 0 and len(problems) == 20, said
    with open(one, "r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 200)
    code, _, said = task(one)
    assert code == 1 and one in said and "fix:" in said, said
    with open(one, "wb") as file:
        file.write(b"PAR1 no more")
    code, _, said = task(one)
    assert code == 1 and one in said, said
print("rows of Parquet files are those of JSON Lines")
