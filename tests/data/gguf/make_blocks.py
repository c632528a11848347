"""Makes blocks.json: random blocks of every quantised type and their values, by the Python package
gguf (made with 0.19.0; its dequantize follows llama.cpp's ggml-quants.c). Run by hand."""
import json
import os

import gguf
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "BF16", "F16"]
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
rng = np.random.default_rng(1)
rows = []
for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = 3 if values > 1 else 40
    data = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    if values == 1:  # finite numbers only
        source = rng.standard_normal(blocks).astype(np.float32)
        data = gguf.quantize(source, kind).view(np.uint8).reshape(blocks, size)
    for at in HALVES.get(name, []):
        scale = rng.standard_normal(blocks).astype(np.float16).view(np.uint8).reshape(blocks, 2)
        data[:, at:at + 2] = scale
    out = gguf.dequantize(data, kind).astype(np.float32).ravel()
    rows.append({"type": name, "number": int(kind), "data": data.tobytes().hex(),
                 "values": [float(v) for v in out]})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocks.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
