#!/usr/bin/env python3
"""GRPO on Countdown by the public Tinker client: this loop draws, grades and says what to learn; a server computes.

    zeroth tinker --model models/base --name countdown --listen 127.0.0.1:8000 &
    TINKER_BASE_URL=http://127.0.0.1:8000 TINKER_API_KEY=tml-local python countdown.py --steps 100

Problems are those of `zeroth train` (`zeroth task sample countdown`), the rule that grades is here: 1 for an expression that uses
every number once and equals the target, and .1 for a well-formed response. Nothing but --base-url ties it to Zeroth.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from fractions import Fraction

import tinker
from tinker import types

RESPONSE = re.compile(r"<think>(?:(?!</?think>|</?answer>).)*</think>\s*<answer>((?:(?!</?think>|</?answer>).)*)</answer>\s*", re.S)


def value_of(text):
    """The value of an expression of whole numbers, + - * / and parentheses, and its numbers; ValueError for anything else."""
    tokens = re.findall(r"\d+|[-+*/()]", text)
    if len(text) > 200 or "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError(text)
    numbers = [int(token) for token in tokens if token.isdigit()]
    at = 0

    def factor():
        nonlocal at
        token = tokens[at] if at < len(tokens) else ""
        at += 1
        if token == "(":
            value = total()
            if at >= len(tokens) or tokens[at] != ")":
                raise ValueError(text)
            at += 1
            return value
        if not token.isdigit():
            raise ValueError(text)
        return Fraction(int(token))

    def product():
        nonlocal at
        value = factor()
        while at < len(tokens) and tokens[at] in "*/":
            at += 1
            value = value * factor() if tokens[at - 1] == "*" else divided(value, factor())
        return value

    def total():
        nonlocal at
        value = product()
        while at < len(tokens) and tokens[at] in "+-":
            sign = 1 if tokens[at] == "+" else -1
            at += 1
            value += sign * product()
        return value

    def divided(a, b):
        if b == 0:
            raise ValueError(text)
        return a / b

    value = total()
    if at != len(tokens):
        raise ValueError(text)
    return value, numbers


def accuracy(text, nums, target):
    found = RESPONSE.fullmatch(text)
    if not found:
        return 0.0
    try:
        value, used = value_of(found.group(1))
    except ValueError:
        return 0.0
    return float(sorted(used) == sorted(nums) and value == target)


def reward(text, nums, target):
    return accuracy(text, nums, target) + 0.1 * bool(RESPONSE.fullmatch(text))


def datum_of(prompt, sequence, advantage):
    """A sample as tokens, targets, and what each target is worth; a prompt's are worth nothing."""
    tokens = prompt + list(sequence.tokens)
    ahead = len(prompt) - 1
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": tokens[1:],
            "logprobs": [0.0] * ahead + list(sequence.logprobs),
            "advantages": [0.0] * ahead + [advantage] * len(sequence.tokens),
        })


def problems_of(zeroth, n, split):
    out = subprocess.run([zeroth, "task", "sample", "countdown", "--n", str(n), "--split", split, "--json"],
                         capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def rate(args, step):
    """Warm-up over five steps, then down to a tenth over the last 60%, as configs/countdown.json has it."""
    if step < 5:
        return args.learning_rate * (step + 1) / 5
    begin, last = max(5, 0.4 * args.steps), args.steps - 1
    if step <= begin or last <= begin:
        return args.learning_rate
    return args.learning_rate * (1 - 0.9 * (step - begin) / (last - begin))


def sampling(args, step, group):
    seed = None if args.seed is None else (args.seed * args.steps + step) * args.groups + group
    return types.SamplingParams(max_tokens=args.max_tokens, temperature=1.0, seed=seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="of the server; else TINKER_BASE_URL")
    parser.add_argument("--base-model", default="countdown")
    parser.add_argument("--zeroth", default="build/zeroth", help="the program that makes the problems")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rank", type=int, default=0, help="of the adapter that learns; 0: all weights learn, which servers other than Zeroth's do not offer")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--max-tokens", type=int, default=224)
    parser.add_argument("--seed", type=int, help="names the draws; without it the server counts them")
    parser.add_argument("--save", help="name of the weights to save at the end")
    parser.add_argument("--log", help="file that gets a JSON line a step")
    args = parser.parse_args()

    service = tinker.ServiceClient(base_url=args.base_url)
    training = service.create_lora_training_client(base_model=args.base_model, rank=args.rank, seed=args.seed or 0).result()
    tokenizer = training.get_tokenizer()
    problems = problems_of(args.zeroth, args.steps * args.groups, "train")
    log = open(args.log, "w") if args.log else None
    for step in range(args.steps):
        begin = time.time()
        sampler = training.save_weights_and_get_sampling_client().result()
        batch = problems[step * args.groups:(step + 1) * args.groups]
        prompts = [tokenizer.encode(problem["prompt"], add_special_tokens=False) for problem in batch]
        futures = [sampler.sample(types.ModelInput.from_ints(prompt), args.samples, sampling(args, step, i)) for i, prompt in enumerate(prompts)]
        data, rewards, right = [], [], []
        tokens = 0
        for problem, prompt, future in zip(batch, prompts, futures):
            sequences = future.result().sequences
            texts = [tokenizer.decode(sequence.tokens, skip_special_tokens=True) for sequence in sequences]
            nums, target = problem["meta"]["nums"], problem["meta"]["target"]
            got = [reward(text, nums, target) for text in texts]
            right += [accuracy(text, nums, target) for text in texts]
            rewards += got
            tokens += sum(len(sequence.tokens) for sequence in sequences)
            mean = sum(got) / len(got)
            data += [(prompt, sequence, value - mean) for sequence, value in zip(sequences, got)]
        # Losses are sums over tokens: a mean over the tokens of the step is a scale of the advantages.
        data = [datum_of(prompt, sequence, advantage / tokens) for prompt, sequence, advantage in data]
        learnt = training.forward_backward(data, "importance_sampling")
        stepped = training.optim_step(types.AdamParams(learning_rate=rate(args, step), beta1=0.9, beta2=0.95, eps=1e-15,
                                                       grad_clip_norm=1.0))
        learnt, stepped = learnt.result(), stepped.result()
        row = {"step": step, "reward": sum(rewards) / len(rewards), "accuracy": sum(right) / len(right),
               "mean_length": tokens / len(rewards), "grad_norm": stepped.metrics["grad_norm"],
               "sampling_logp_difference": learnt.metrics["sampling_logp_difference:max"], "seconds": time.time() - begin}
        if log:
            print(json.dumps(row), file=log, flush=True)
        print("step {step}  reward {reward:.3f}  right {accuracy:.3f}  {mean_length:.0f} tokens  grad {grad_norm:.3f}  "
              "log-prob difference {sampling_logp_difference:g}  {seconds:.1f} s".format(**row), file=sys.stderr)
    if args.save:
        print(training.save_weights_for_sampler(args.save).result().path)
    service.close("success").result()


if __name__ == "__main__":
    main()
