#!/usr/bin/env bash
# A reward model is trained on pairs, graded with, and trained against: examples/torch_reward.
set -uo pipefail
zeroth=$1 plugin=$2 train_reward=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
fails() { echo "FAILED: $*"; failures=$((failures + 1)); }

python3 - "$dir" <<'PY'
import json, random, sys
random.seed(3)
things = ["the train", "a book", "my order", "the weather", "this recipe", "the meeting"]
kind = ["Gladly: here is what I found.", "Of course, let me explain.", "Thank you for asking."]
curt = ["No idea.", "Look it up yourself.", "Why would I care?"]
body = ["It takes about an hour.", "There are three ways.", "That depends on the day.", "It costs little."]
with open(sys.argv[1] + "/pairs.jsonl", "w") as rows:
    for _ in range(200):
        tail = " ".join(random.sample(body, random.randint(1, 3)))
        print(json.dumps({"prompt": "Tell me about " + random.choice(things),
                          "chosen": random.choice(kind) + " " + tail,
                          "rejected": tail + " " + random.choice(curt)}), file=rows)
with open(sys.argv[1] + "/questions.jsonl", "w") as rows:
    for thing in things * 5:
        print(json.dumps({"prompt": "Tell me about %s, number %d" % (thing, rows.tell()), "answer": "kindly"}), file=rows)
PY

report=$("$train_reward" "$dir/pairs.jsonl" "$dir/reward.pt") || fails "training the reward model"
python3 -c 'import sys; sys.exit(float(sys.argv[1].split()[4]) < 0.9)' "$report" || fails "held-out pairs: $report"

# By hand, over the protocol; the same response gets the same score whatever it is graded with.
item() { printf '{"problem": {"id": "p", "prompt": "Tell me about tea", "answer": "", "meta": null}, "completion": "%s", "answer": null, "finish": "stop"}' "$1"; }
good=$(item "Of course, let me explain. There are three ways.") bad=$(item "There are three ways. Look it up yourself.")
printf '%s\n' "{\"id\": 1, \"op\": \"hello\", \"zeroth\": 1, \"options\": {\"model\": \"$dir/reward.pt\"}}" \
  "{\"id\": 2, \"op\": \"grade\", \"batch\": [$good, $bad]}" "{\"id\": 3, \"op\": \"grade\", \"batch\": [$bad]}" |
  "$zeroth" task serve "$plugin" > "$dir/replies" 2> "$dir/err" || fails "task serve: $(cat "$dir/err")"
python3 - "$dir/replies" <<'PY' || fails "scores: $(cat "$dir/replies")"
import json, sys
scores = {}
for line in open(sys.argv[1]):
    reply = json.loads(line)
    if "results" in reply: scores.setdefault(reply["id"], []).extend(r["score"] for r in reply["results"])
(good, bad), (again,) = scores[2], scores[3]
sys.exit(not (0 <= bad < 0.5 < good <= 1 and again == bad))
PY

# R1's last stage: answers graded by rule beside answers graded by the model.
"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$dir/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$dir/base/"
cat > "$dir/config.json" <<JSON
{"model": "$dir/base", "steps": 2, "prompts_per_step": 4, "samples_per_prompt": 4, "sampling": {"max_tokens": 16},
 "task": {"name": "mixture", "options": {"parts": [
   {"task": "arithmetic"},
   {"task": "so", "options": {"path": "$plugin", "options": {"model": "$dir/reward.pt"},
                              "problems": {"name": "jsonl", "options": {"path": "$dir/questions.jsonl"}}}}]}},
 "record": {"progress": false}}
JSON
"$zeroth" train "$dir/config.json" --out "$dir/run" > /dev/null 2> "$dir/err" || fails "training: $(tail -n 2 "$dir/err")"
python3 - "$dir/run/metrics.jsonl" <<'PY' || fails "metrics: $(tail -n 1 "$dir/run/metrics.jsonl" | head -c 600)"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(not any("so" in key or "torch_reward" in key for row in rows for key in row) or len(rows) < 2)
PY

# What cannot work says so.
sed -i "s|$dir/reward.pt|$dir/none.pt|" "$dir/config.json"
"$zeroth" train "$dir/config.json" --out "$dir/none" > "$dir/out" 2>&1 && fails "a missing model was accepted"
grep -q "none.pt" "$dir/out" || fails "a missing model is not named: $(tail -n 3 "$dir/out")"
[ $failures = 0 ] && echo "torch_reward: ok"
exit $((failures > 0))
