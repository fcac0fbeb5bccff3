#!/usr/bin/env bash
# Everything that needs an NVIDIA card, in under eight minutes: tests, speed by batch, graphs, parity, whole jobs.
#
#   scripts/gpu_check.sh                 on a machine with torch for CUDA; a table at the end, all numbers in $OUT
#   scripts/gpu_check.sh --dry-run       every line of it on the CPU, with a frame or two: does it run?
#
# Environment:
#   OUT=DIR        for gpu.json, gpu.md (tables) and gpu.log (all output); default: runs/gpu
#   WHEELS=DIR     wheels of packages that the machine lacks; nothing is fetched from a network
#   PYTHON=FILE    the interpreter (default: python3)
#   SECONDS_IN_ALL=N   time for everything but the training (default: 460)
#   PACK=FILE MINUTES=N [NETWORK=FILE]   afterwards train the mouth for N minutes (scripts.train_mouth --pack), from
#                  where runs/mouth is; checkpoint and weights go to $OUT. NETWORK: of the perceptual loss
#
# A part that lacks a package is skipped, and says which. The exit status is 1 if a part failed or ran out of time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

device=cuda tiny=()
case "${1:-}" in
  "") ;;
  --dry-run) device=cpu tiny=(--tiny) ;;
  *) echo "error: argument is '$1'; allowed is --dry-run" >&2; exit 2 ;;
esac
python=${PYTHON:-python3}
out=${OUT:-runs/gpu}
mkdir -p "$out" || exit 2
json=$out/gpu.json log=$out/gpu.log
rm -f "$json"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONUNBUFFERED=1
deadline=$((SECONDS + ${SECONDS_IN_ALL:-460}))

if [[ -n "${WHEELS:-}" ]]; then
  site=$scratch/site
  if "$python" -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" --target "$site" "$WHEELS"/*.whl; then
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
  else
    echo "warning: the wheels in $WHEELS could not be installed; parts that need them are skipped" >&2
  fi
fi
"$python" - <<'EOF' | tee "$log"
import importlib.util
wanted = "torch numpy scipy PIL safetensors tqdm pytest imageio_ffmpeg zuko c2pa cryptography soxr librosa tensorboard"
missing = [name for name in wanted.split() if not importlib.util.find_spec(name)]
print("packages that are missing:", ", ".join(missing) or "none")
EOF

card() { "$python" -m scripts.benchmarks.card "$@"; }

# run_part NAME LIMIT COMMAND...: run it for at most LIMIT seconds, keep its output, note how it ended.
run_part() {
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  echo "== $name (at most $limit s)" | tee -a "$log"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$scratch/$name" | tee -a "$log"
  status=${PIPESTATUS[0]}
  card record --json "$json" --name "$name" --status "$status" --seconds $((SECONDS - start)) --log "$scratch/$name"
}

# measure NAME LIMIT: a part of scripts.benchmarks.card, within what is left of the time.
measure() {
  local name=$1 limit=$2 left=$((deadline - SECONDS))
  if [[ ${#tiny[@]} -gt 0 ]]; then limit=600 left=600; fi # a dry run is about what runs, not about time
  run_part "$name" $((limit < left ? limit : left > 1 ? left : 1)) \
    "$python" -m scripts.benchmarks.card "$name" --json "$json" --device "$device" "${tiny[@]}"
}

measure machine 60
measure drawing 120
measure parity 90
measure graphs 90
measure tests 120
measure jobs 90
measure stages 150

if [[ -n "${PACK:-}" ]]; then
  minutes=${MINUTES:-5} unpack="import sys; from scripts.training import mouth_pack as m; m.unpack(*sys.argv[1:])"
  run_part unpack 300 "$python" -c "$unpack" "$PACK" runs/cache
  run_part training $((minutes * 60 + 60)) timeout --preserve-status $((minutes * 60)) \
    "$python" -m scripts.train_mouth --pack "$PACK" --out runs/mouth --device "$device" \
    --perceptual-network "${NETWORK:-none}" --save-every 30
  for file in checkpoint.pt weights.safetensors config.json; do
    if [[ -f runs/mouth/$file ]]; then cp "runs/mouth/$file" "$out/"; fi
  done
fi

echo
card table --json "$json" | tee "$out/gpu.md"
exit "${PIPESTATUS[0]}"
