"""make_wheel.py TREE VERSION GLIBC MACHINE OUT: the wheel of python/zeroth with the staged program in it (scripts/package).

The tag says the glibc that the binary asks for, by the rules of PEP 600: what manylinux leaves to the system is left to it.
"""
import base64
import hashlib
import os
import stat
import sys
import time
import zipfile

METADATA = """Metadata-Version: 2.1
Name: zeroth
Version: {version}
Summary: Trains reasoning from a base checkpoint by reinforcement learning
License: Apache-2.0
Requires-Python: >=3.9
Provides-Extra: frame
Requires-Dist: pandas; extra == "frame"
Provides-Extra: parquet
Requires-Dist: {arrow}; extra == "parquet"
Description-Content-Type: text/markdown

R1-Zero style reinforcement learning on CPUs: the program `zeroth`, its base checkpoints and configs, and a thin module:
`zeroth.run`, `zeroth.Reward`, `zeroth.traces`.
"""


def main(tree, version, glibc, machine, out):
    tag = "py3-none-manylinux_%s_%s" % (glibc.replace(".", "_"), machine)
    info = "zeroth-%s.dist-info" % version
    files = {}
    with open("scripts/requirements-parquet.txt") as file:
        [arrow] = [line.split()[0] for line in file if line.startswith("pyarrow==")]
    for base, prefix in (("python/zeroth", "zeroth"), (tree, "zeroth/program")):
        for folder, folders, names in os.walk(base):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            for name in sorted(names):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    inside = os.path.join(prefix, os.path.relpath(path, base))
                    files[inside] = (file.read(), 0o755 if os.stat(path).st_mode & stat.S_IXUSR else 0o644)
    texts = {"METADATA": METADATA.format(version=version, arrow=arrow),
             "WHEEL": "Wheel-Version: 1.0\nGenerator: scripts/make_wheel.py\nRoot-Is-Purelib: false\nTag: %s\n" % tag,
             "entry_points.txt": "[console_scripts]\nzeroth = zeroth.__main__:main\n"}
    for name, text in texts.items():
        files[info + "/" + name] = (text.encode(), 0o644)
    with open("LICENSE", "rb") as file:
        files[info + "/LICENSE"] = (file.read(), 0o644)
    when = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    record = []
    path = os.path.join(out, "zeroth-%s-%s.whl" % (version, tag))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:

        def put(name, content, mode):
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr, entry.compress_type = (stat.S_IFREG | mode) << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)

        for name, (content, mode) in files.items():
            put(name, content, mode)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append("%s,sha256=%s,%d" % (name, digest, len(content)))
        put(info + "/RECORD", "\n".join([*record, info + "/RECORD,,", ""]).encode(), 0o644)
    print("%s  %d KB" % (path, os.path.getsize(path) // 1000))


if __name__ == "__main__":
    main(*sys.argv[1:])
