"""Makes the reduced tokenizers of this folder and every golden.jsonl.

    python3 make_golden.py SOURCE

SOURCE holds the full tokenizers named in NOTICE.md. Needs the Python packages tokenizers and
sentencepiece (made with 0.23.3 and 0.2.3). Run by hand; the results are committed.
"""
import json
import os
import random
import sys

import sentencepiece
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = sys.argv[1]

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000", "\u2028", "\u200b",
          "\u180e", "\x85", "\x0b", "\u2003", " \n", " \t", "\ufeff"]
WORDS = ["don't", "I'LL", "we've", "'s", "'S", "'\u017f", "he'd", "THE", "hello", "12345", "3.14", "0",
         "007", "\u00bd", "x=1", "==>", "```", "</think>", "--", "!!!", "?!", "日本語", "中文字符", "한국어",
         "العربية", "हिन्दी", "ไทย", "🚀", "👩‍👩‍👧", "é", "e\u0301", "A\u030a", "\u1e9b\u0323", "ﬁ", "①", "ǅ",
         "_x_", "C++", "\\frac{1}{2}", "$x^2$", "▁", "Ġ", "▁▁", "<0x41>", "\u0149", "’s", "\U00010d41",
         "\U000323af"]
BLOCKS = [(0x20, 0x7e), (0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x5ff), (0x600, 0x6ff),
          (0x900, 0xdff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x20a0, 0x2bff), (0x3000, 0x30ff),
          (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xfe00, 0xffef), (0x1d400, 0x1d7ff), (0x1f300, 0x1faff),
          (0x20000, 0x2a6df), (0x1, 0x1f), (0x80, 0x9f), (0xe000, 0xe0ff)]


def random_texts(count, seed, tokens):
    rng = random.Random(seed)
    for _ in range(count):
        out = []
        for _ in range(rng.randint(1, 8)):
            kind = rng.random()
            if kind < .25:
                out.append(rng.choice(SPACES))
            elif kind < .5:
                out.append(rng.choice(WORDS))
            elif kind < .6 and tokens:
                out.append(rng.choice(tokens))
            elif kind < .7:
                out.append(rng.choice(SPACES + list("aA1.,-=中")) * rng.randint(1, 12))
            else:
                first, last = rng.choice(BLOCKS)
                out.append("".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 5))))
            if rng.random() < .3:
                out.append(" ")
        yield "".join(out)


def published_texts():
    with open(os.path.join(SOURCE, "smollm2", "golden.jsonl")) as lines:
        return [json.loads(line)["text"] for line in lines]


def write(name, texts, encode, decode):
    with open(os.path.join(HERE, name, "golden.jsonl"), "w") as out:
        for text in texts:
            ids = encode(text)
            row = {"text": text, "ids": ids, "decoded": decode(ids)}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json_tokenizer(name, document, tokens=(), extra=()):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "tokenizer.json")
    if document is not None:
        with open(path, "w") as out:
            json.dump(document, out, ensure_ascii=False, separators=(",", ":"))
    tokenizer = tokenizers.Tokenizer.from_file(path)
    texts = published_texts() + list(extra) + list(random_texts(100, 1, list(tokens)))
    write(name, texts, lambda t: tokenizer.encode(t, add_special_tokens=False).ids, tokenizer.decode)


def reduced(name, merges):
    """The first merges of a tokenizer, the tokens they make, and its single bytes."""
    with open(os.path.join(SOURCE, name, "tokenizer.json")) as file:
        document = json.load(file)
    model = document["model"]
    kept = [m if isinstance(m, str) else " ".join(m) for m in model["merges"][:merges]]
    spellings = {p for m in kept for p in (*m.split(" "), m.replace(" ", ""))}
    spellings |= {t for t in model["vocab"] if len(t) == 1}
    model["merges"] = kept
    model["vocab"] = {t: i for i, t in enumerate(sorted(spellings))}
    document["added_tokens"] = []
    return document


def added(document, index, content, **flags):
    token = {"id": len(document["model"]["vocab"]) + index, "content": content, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}
    if content in document["model"]["vocab"]:
        token["id"] = document["model"]["vocab"][content]
    document["added_tokens"].append(token)
    return token["id"] == len(document["model"]["vocab"]) + index


def with_tokens(document, tokens):
    index = 0
    for content, flags in tokens:
        index += added(document, index, content, **flags)
    return document


def main():
    # Qwen2's rules: NFC, contractions, one digit a word.
    special = dict(special=True)
    ends = [("<|endoftext|>", special), ("<|im_start|>", special)]
    write_json_tokenizer("qwen2-reduced", with_tokens(reduced("qwen2", 1500), ends),
                         ["<|endoftext|>", "<|im_start|>"])

    # Llama 3's: up to three digits a word, whole words without merging.
    llama3 = reduced("qwen2", 1200)
    llama3["normalizer"] = None
    llama3["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    llama3["model"]["ignore_merges"] = True
    llama3["model"]["vocab"]["Ġwordless"] = len(llama3["model"]["vocab"])
    with_tokens(llama3, [("<|begin_of_text|>", special)])
    write_json_tokenizer("llama3-rules", llama3, ["<|begin_of_text|>", " wordless"])

    # DeepSeek-V3's: a chain of three splits, fullwidth special tokens.
    write_json_tokenizer("deepseek-reduced",
                         with_tokens(reduced("deepseek-v4", 1500),
                                     [("<｜begin▁of▁sentence｜>", special), ("<think>", {})]),
                         ["<｜begin▁of▁sentence｜>", "<think>"])

    # Every flag of an added token; possessive and lazy patterns; all split behaviors.
    flags = with_tokens(reduced("smollm2", 800), [
        ("<a>", dict(lstrip=True, special=True)), ("<b>", dict(rstrip=True)),
        ("<c>", dict(lstrip=True, rstrip=True, special=True)), ("word", dict(single_word=True)),
        ("the", dict(single_word=True, normalized=True, lstrip=True)), ("<a><b>", {}),
        ("e\u0301x", dict(normalized=True)), ("日", dict(single_word=True, special=True)),
        ("   ", dict(normalized=True))])
    flags["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\t{2,}"}, "content": "\t"}]}
    split = lambda regex, behavior, invert=False: {
        "type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}
    flags["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        split(r"(?i)'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
              r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s", "Isolated"),
        split(r"[\p{Lu}&&[^X-Z]]", "MergedWithNext"), split(",", "MergedWithPrevious"),
        split(r"=|\h{3}+", "Contiguous"), split("~", "Removed"),
        split(r"[^!]", "Isolated", True),
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    names = ["<a>", "<b>", "<c>", "word", "the", "<a><b>", "e\u0301x", "日", "   ", "~", "ABCXYZ", "abc1"]
    write_json_tokenizer("flags", flags, names + [" word", "words", " the ", "other"])

    # Llama 2's tokenizer.json: byte fallback, U+2581 for spaces.
    model = sentencepiece.SentencePieceProcessor(os.path.join(SOURCE, "mistral-v1", "tokenizer.model"))
    keep = list(range(2500)) + [i for i in range(model.get_piece_size()) if len(model.id_to_piece(i)) == 1]
    vocab = {model.id_to_piece(i): n for n, i in enumerate(sorted(set(keep)))}
    merges = []
    for piece, index in vocab.items():
        if index < 259 or len(piece) < 2:
            continue
        merges += sorted(((vocab[piece[:k]], vocab[piece[k:]], index) for k in range(1, len(piece))
                          if piece[:k] in vocab and piece[k:] in vocab))
    names = {i: p for p, i in vocab.items()}
    llama2 = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": names[i], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [[names[a], names[b]] for a, b, _ in merges]}}
    write_json_tokenizer("llama2-reduced", llama2, ["<s>", "</s>"])

    # Whole tokenizers, copied beside this script.
    write_json_tokenizer("smollm2", None, ["<|im_start|>", "<|endoftext|>"])
    gpt2 = tokenizers.ByteLevelBPETokenizer(os.path.join(HERE, "gpt2", "vocab.json"),
                                            os.path.join(HERE, "gpt2", "merges.txt"))
    texts = published_texts() + list(random_texts(100, 2, []))
    write("gpt2", texts, lambda t: gpt2.encode(t).ids, gpt2.decode)
    write("mistral-v1", texts, model.encode, model.decode)


main()
