"""A Parquet file of 1,000,000 rows opens within 2 s of CPU time and 200 MB, and trains from anywhere in it.

Usage: parquet_large_test.py ZEROTH, from the project's root. 77 (skipped) without the module or without pyarrow, which writes it.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

zeroth = os.path.abspath(sys.argv[1])
ROWS = 1_000_000
# In a process of its own: the largest resident size of a program counts what it was forked from.
WRITE = """
import sys
sys.path.insert(0, ".deps/arrow")
try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    sys.exit(77)
if len(sys.argv) > 1:
    numbers = range(int(sys.argv[2]))
    table = pa.table({"id": pa.array(numbers), "question": pa.array(["What is %d + %d, and why?" % (i, i % 977) + " Think." * 20 for i in numbers]),
                      "answer": pa.array([str(i + i % 977) for i in numbers]), "tags": pa.array([["a", str(i % 7)] for i in numbers])})
    pq.write_table(table, sys.argv[1], row_group_size=int(sys.argv[3]))
"""
version = subprocess.run([zeroth, "--version"], capture_output=True, text=True, check=True).stdout
if "parquet" not in version or subprocess.run([sys.executable, "-c", WRITE]).returncode == 77:
    print("skipped: no pyarrow, or no Parquet module (scripts/setup --parquet)")
    sys.exit(77)
SECONDS, MEGABYTES = 2.0, 200


def measured(*words, folder):
    """Standard output of the program, its CPU seconds, its largest resident megabytes and its wall seconds."""
    start = time.monotonic()
    with open(os.path.join(folder, "said"), "w+") as said, open(os.path.join(folder, "out"), "w+") as out:
        process = subprocess.Popen([zeroth, *words], stdout=out, stderr=said, env={**os.environ, "TMPDIR": folder})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
        wall = time.monotonic() - start
        for file in (out, said):
            file.seek(0)
        assert status == 0, said.read()
        return out.read(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, wall


def main(folder):
    for name, group in (("groups of 10,000 rows", 10_000), ("one group", ROWS)):
        path = os.path.join(folder, "rows.parquet")
        subprocess.run([sys.executable, "-c", WRITE, path, str(ROWS), str(group)], check=True)
        size = os.path.getsize(path) / 1e6
        out, cpu, rss, wall = measured("task", "sample", "jsonl:path=" + json.dumps(path), "-n", "3", "--json", folder=folder)
        assert len(out.splitlines()) == 3 and "What is" in out, out
        print("%s, %.0f MB: opens and shows 3 rows in %.2f s (%.2f s of CPU), %.0f MB" % (name, size, wall, cpu, rss), flush=True)
        assert cpu < SECONDS and rss < MEGABYTES, (cpu, rss)
        run = os.path.join(folder, "run-%d" % group)
        settings = ["task.name=jsonl", "task.options=" + json.dumps({"path": path, "template": "bare"}), "steps=1", "prompts_per_step=8", "samples_per_prompt=2",
                    "sampling.max_tokens=4"]
        out, cpu, rss, wall = measured("train", "configs/smoke.json", "--out", run, *[w for s in settings for w in ("--set", s)], folder=folder)
        shown = subprocess.run([zeroth, "traces", "export", "--jsonl", run], capture_output=True, text=True, check=True).stdout.splitlines()
        rows = {int(json.loads(line)["problem"].rsplit("-", 1)[1]) for line in shown}
        print("  a step of training on rows %s: %.1f s (%.1f s of CPU), %.0f MB" % (sorted(rows), wall, cpu, rss), flush=True)
        assert max(rows) - min(rows) > ROWS / 10, rows
        left = [name for name in os.listdir(folder) if name.startswith("zeroth-rows")]
        assert not left, left


with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
    main(folder)
