#!/usr/bin/env python3
"""Holds the share of long answers in parity runs against the predicted curve, and draws both.

Policy gradient with a baseline pushes the log-odds of the long mode by g = p (1 - p) (a_long - a_short), where a_long and
a_short are the measured accuracies of the two modes. The recipe trains with Adam, which divides the push by its own running
size, so the prediction is Adam (0.9, 0.95) on the one number logit(p):
  logit(p) += k * lr(step) / lr(0) * m / sqrt(v)
Per run k and the share at step 0 (measured there on a few hundred samples only) are fitted; the error is over all steps.

usage: scripts/parity_fit.py RUN.. [--svg FILE]
"""
import json
import math
import sys


def read(run):
    rows = [json.loads(line) for line in open(run + '/metrics.jsonl')]
    share = [r['facts/thinks'] for r in rows]
    rate = [r['learning_rate'] for r in rows]
    long_n = sum(share)
    short_n = sum(r['facts/direct'] for r in rows)
    a_long = sum(r['facts/thinks_right'] for r in rows) / max(long_n, 1e-9)
    a_short = sum(r['facts/direct_right'] for r in rows) / max(short_n, 1e-9)
    return share, [x / rate[0] for x in rate], a_long, a_short


def curve(k, p0, rate, gap):
    p, m, v, out = p0, 0.0, 0.0, []
    for t, r in enumerate(rate, 1):
        out.append(p)
        g = p * (1 - p) * gap
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
        logit = math.log(p / (1 - p)) + k * r * (m / (1 - 0.9 ** t)) / math.sqrt(v / (1 - 0.95 ** t))
        p = min(1 - 1e-6, 1 / (1 + math.exp(-logit)))
    return out


def fit(share, rate, gap):
    def error(k, p0):
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(share, curve(k, p0, rate, gap))) / len(share))

    starts = [min(max(share[0] + 0.01 * i, 0.01), 0.99) for i in range(-10, 11)]
    rates = [0.02 * 1.03 ** i for i in range(150)]
    best, k, p0 = min((error(k, p0), k, p0) for k in rates for p0 in starts)
    return k, best, curve(k, p0, rate, gap)


def svg(path, runs):
    width, height, left, bottom = 720, 360, 56, 40
    steps = max(len(share) for _, share, _ in runs)
    x = lambda i: left + i * (width - left - 16) / max(1, steps - 1)
    y = lambda p: height - bottom - p * (height - bottom - 24)
    colors = ['#2f6fde', '#d9822b', '#2a9d5c', '#a44bd1']
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (width, height),
           '<rect width="100%" height="100%" fill="white"/>']
    for p in (0, .25, .5, .75, 1):
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d%%</text>' % (
            left, width - 16, y(p), y(p), left - 6, y(p) + 4, 100 * p))
    for i in range(0, steps, max(1, steps // 6)):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d</text>' % (x(i), height - bottom + 18, i))
    out.append('<text x="%d" y="%d" text-anchor="middle">step</text>' % (width // 2, height - 6))
    out.append('<text x="%d" y="16">share of long answers: dots measured, lines predicted</text>' % left)
    for n, (name, share, predicted) in enumerate(runs):
        color = colors[n % len(colors)]
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (
            color, ' '.join('%.1f,%.1f' % (x(i), y(p)) for i, p in enumerate(predicted))))
        out += ['<circle cx="%.1f" cy="%.1f" r="2" fill="%s" fill-opacity=".6"/>' % (x(i), y(p), color) for i, p in enumerate(share)]
        out.append('<text x="%d" y="%d" fill="%s">%s</text>' % (width - 170, 250 + 16 * n, color, name))
    out.append('</svg>')
    open(path, 'w').write('\n'.join(out) + '\n')


def main():
    args = sys.argv[1:]
    path = None
    if '--svg' in args:
        at = args.index('--svg')
        path = args[at + 1]
        del args[at:at + 2]
    if not args:
        sys.exit(__doc__)
    drawn = []
    for run in args:
        share, rate, a_long, a_short = read(run)
        k, error, predicted = fit(share, rate, a_long - a_short)
        print('%s: share %.3f -> %.3f, accuracy long %.3f short %.3f, k %.3f, RMSE %.4f over %d steps' % (
            run, share[0], share[-1], a_long, a_short, k, error, len(share)))
        drawn.append((run.rstrip('/').split('/')[-1], share, predicted))
    if path:
        svg(path, drawn)


main()
