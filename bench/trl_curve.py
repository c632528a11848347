#!/usr/bin/env python3
"""usage: bench/trl_curve.py RUN --model DIR --out OUT [--zeroth BINARY] [--steps N] [--seed S] [--micro M]
       bench/trl_curve.py --compare FOLDER.. [--block 10] [--level 0.6]

TRL's GRPOTrainer with the settings, the base and, in order, the problems of a run of `zeroth train` (with its traces):
does it learn the same, and how long does it take? Tasks: arithmetic, and math with fractions as answers. The graders here
are first held against every verdict that the run has stored; one that differs ends it with 1.
OUT/metrics.jsonl gets a line a step. --compare prints reward, accuracy, share that thinks, seconds and seconds of processor
time of runs of both kinds side by side, and when each has reached a level. Needs torch, transformers, datasets and trl (1.16) in the Python that runs it."""
import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path


def fail(text):
    print(text)
    sys.exit(1)


# ---- graders: docs/tasks.md again, by other means ----


def parts_of(text):
    """(thinking, answer), or None where the text is not well formed."""
    if any(text.count(tag) != 1 for tag in ("<think>", "</think>", "<answer>", "</answer>")):
        return None
    match = re.fullmatch(r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", text, re.S)
    return match and match[2].strip() and (match[1].strip(), match[2].strip())


def value_of(text):
    """A number as p, p/q or \\frac{p}{q}; None for anything else."""
    match = re.fullmatch(r"(-?\d+)(?:/(\d+))?|\\frac\{(-?\d+)\}\{(\d+)\}", text)
    if not match:
        return None
    top, bottom = (match[1], match[2] or "1") if match[1] else (match[3], match[4])
    return Fraction(int(top), int(bottom)) if int(bottom) else None


def right(task, answer, gold):
    return float(answer == gold if task == "arithmetic" else value_of(answer) is not None and value_of(answer) == value_of(gold))


def gold_of(task, prompt):
    if task == "arithmetic":
        a, sign, b = re.match(r"(\d+)([-+*])(\d+)=", prompt).groups()
        return str({"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(a), int(b)))
    a, b, sign, c, d = re.search(r"\\frac\{(\d+)\}\{(\d+)\}([-+])\\frac\{(\d+)\}\{(\d+)\}", prompt).groups()
    value = Fraction(int(a), int(b)) + (1 if sign == "+" else -1) * Fraction(int(c), int(d))
    return f"{value.numerator}/{value.denominator}"


def answer_of(text):
    """What the last answer block holds, in a text of any form; None without one."""
    closed = re.search(r"(.*?)</answer>", text.rpartition("<answer>")[2], re.S) if "<answer>" in text else None
    return closed and closed[1].strip()


def rewards_of(task, text, gold):
    """(accuracy, format, whether it thinks)"""
    found, answer = parts_of(text), answer_of(text)
    accuracy = right(task, answer, gold) if answer else 0.0
    return (accuracy, 1.0, float(bool(found[0]))) if found else (accuracy, 0.0, 0.0)


# ---- the run that is copied ----


def read_run(run, zeroth):
    config = json.loads(Path(run, "config.json").read_text())
    lines = subprocess.run([zeroth, "traces", "export", "--jsonl", "--query", "source=train", run], check=True, capture_output=True, text=True).stdout
    return config.get("config", config), [json.loads(line) for line in lines.splitlines()]


def problems_of(task, traces):
    rows = {}
    for trace in traces:
        rows[trace["step"], trace["group"]] = {"prompt": trace["prompt"], "gold": gold_of(task, trace["prompt"])}
    return [rows[key] for key in sorted(rows)]


def check_graders(task, traces):
    other = 0
    for trace in traces:
        accuracy, _, _ = rewards_of(task, trace["text"], gold_of(task, trace["prompt"]))
        other += trace["verdicts"][0]["score"] != accuracy
    print(f"{len(traces)} traces of the run graded again: {other} verdicts differ", flush=True)
    if other:
        sys.exit(1)


def rate_share(step, steps, o):
    """The learning rate as a share of optimizer.lr: warm-up, constant, linear fall."""
    if step < o["warmup_steps"]:
        return (step + 1) / o["warmup_steps"]
    begin, last = max(o["warmup_steps"], o["decay_from"] * steps), steps - 1
    if o["schedule"] == "constant" or step <= begin or last <= begin:
        return 1.0
    return 1 - (1 - o["min_lr_ratio"]) * min(1.0, (step - begin) / (last - begin))


# ---- TRL ----


def settings_of(config, args, steps, GRPOConfig):
    o, loss, sampling = config["optimizer"], config["loss"], config["sampling"]
    batch = config["prompts_per_step"] * config["samples_per_prompt"]
    micro = args.micro or batch
    weights = config["task"].get("options", {})
    # Left to itself TRL trains in bfloat16, recomputes activations, divides by the group's deviation, adds the checkpoint's
    # balancing loss and clips alike on both sides.
    return GRPOConfig(
        output_dir=args.out, seed=args.seed, use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False,
        per_device_train_batch_size=micro, gradient_accumulation_steps=batch // micro,
        num_generations=config["samples_per_prompt"], max_completion_length=sampling["max_tokens"],
        temperature=sampling["temperature"], top_k=sampling["top_k"], top_p=sampling["top_p"],
        loss_type=loss["type"], epsilon=loss["clip_low"], epsilon_high=loss["clip_high"], beta=loss["beta"],
        importance_sampling_level=loss["importance_sampling"],
        scale_rewards="none" if config["advantage"]["baseline"] == "mean" else "group",
        reward_weights=[weights.get("accuracy_weight", 1.0), weights.get("format_weight", 0.1), 0.0],
        router_aux_loss_coef=config["trainer"]["router_aux_coef"], max_grad_norm=o["max_grad_norm"], learning_rate=o["lr"],
        max_steps=steps, shuffle_dataset=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True)


def train(args):
    config, traces = read_run(args.run, args.zeroth)
    task = config["task"]["name"]
    if task not in ("arithmetic", "math"):
        fail(f"the run's task is {task}; arithmetic and math (fractions) can be graded here")
    check_graders(task, traces)
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    steps, o = args.steps or config["steps"], config["optimizer"]
    problems = problems_of(task, traces)[: steps * config["prompts_per_step"]]
    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    adam = torch.optim.AdamW(model.parameters(), lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"], weight_decay=o["weight_decay"], fused=True)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    log = Path(args.out, "metrics.jsonl").open("w")

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began, self.cpu = time.perf_counter(), time.process_time()

        def on_step_end(self, *_, **__):
            self.seconds, self.core_seconds = time.perf_counter() - self.began, time.process_time() - self.cpu

        def on_log(self, _, state, __, logs=None, **___):
            if "reward" in logs:
                row = {"step": state.global_step - 1, "reward": logs["reward"], "accuracy": logs["rewards/accuracy/mean"],
                       "thinks": logs["rewards/thinks/mean"], "length": logs["completions/mean_length"], "seconds": self.seconds,
                       "core_seconds": self.core_seconds}
                print(json.dumps(row), file=log, flush=True)
                print(json.dumps(row), flush=True)

    def reward(name, place):
        def of(completions, gold, **_):
            return [rewards_of(task, *row)[place] for row in zip(completions, gold)]
        of.__name__ = name
        return of

    trainer = GRPOTrainer(
        model=model, reward_funcs=[reward("accuracy", 0), reward("format", 1), reward("thinks", 2)],
        args=settings_of(config, args, steps, GRPOConfig), train_dataset=Dataset.from_list(problems), processing_class=tokenizer,
        optimizers=(adam, torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate_share(step, steps, o))), callbacks=[Clock()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()


# ---- side by side ----


def rows_of(folder):
    rows = []
    for line in Path(folder, "metrics.jsonl").read_text().splitlines():
        m = json.loads(line)
        if "timing" in m and "reward" in m:
            rows.append({"reward": m["reward"], "accuracy": m["rewards/accuracy/mean"], "thinks": m.get("facts/thinks", float("nan")),
                         "seconds": m["timing"]["step_time"], "core_seconds": m["timing"].get("core_seconds", float("nan"))})
        elif "reward" in m:
            rows.append(m)
    return rows


def compare(args):
    runs = {folder: rows_of(folder) for folder in args.compare}
    for key in ("reward", "accuracy", "thinks", "seconds", "core_seconds"):
        print(f"{key}, means of {args.block} steps")
        for folder, rows in runs.items():
            print(f"  {Path(folder).name:16}", *(f"{statistics.mean(r[key] for r in rows[i : i + args.block]):8.3f}" for i in range(0, len(rows), args.block)))
    print(f"median step and all steps, seconds and core-seconds; to an accuracy of {args.level} (mean of five steps)")
    for folder, rows in runs.items():
        at = next((i for i in range(5, len(rows) + 1) if statistics.mean(r["accuracy"] for r in rows[i - 5 : i]) >= args.level), None)
        whole = [(statistics.median(r[key] for r in rows), sum(r[key] for r in rows)) for key in ("seconds", "core_seconds")]
        reached = f"step {at}, {sum(r['seconds'] for r in rows[:at]):.1f} s, {sum(r['core_seconds'] for r in rows[:at]):.1f} core-seconds" if at else "never"
        print(f"  {Path(folder).name:16}", *(f"{median:7.2f} {total:8.1f}" for median, total in whole), "  ", reached)


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--out")
    parser.add_argument("--zeroth", default="build/zeroth")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--micro", type=int, default=0)
    parser.add_argument("--compare", nargs="+")
    parser.add_argument("--block", type=int, default=10)
    parser.add_argument("--level", type=float, default=0.6)
    args = parser.parse_args()
    if args.compare:
        compare(args)
    elif args.run and args.model and args.out:
        train(args)
    else:
        parser.error("RUN, --model and --out, or --compare FOLDER..")


if __name__ == "__main__":
    main()
