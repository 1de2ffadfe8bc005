#!/usr/bin/env bash
# Failures of earlier versions, run again: repro.sh CHECKOUT CASES [UPSTREAM]
#   CHECKOUT   with its .venv
#   CASES      folder of the files that failed
#   UPSTREAM   folder of 3DDFA_V2's released files (default: CASES/../upstream)
# Prints PASS, FAIL or SKIP for each, and ends with status 1 after a FAIL. Keys of settings are looked up by their name
# of that time, so that a renamed one is followed; each hostile value has a harmless one beside it that must be taken.
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
checkout=$(realpath "$1") cases=$(realpath "$2") upstream=$(realpath -m "${3:-$2/../upstream}")
python=$checkout/.venv/bin/python
photo=$checkout/examples/inputs/astronaut.jpg clip=$checkout/examples/inputs/videos/crossing.mp4
work=$(mktemp -d)
trap 'umount -l "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2
export TDDFA_CACHE=$work/cache OMP_NUM_THREADS=1 PYTHONPATH=
failed=0

verdict() { # NAME REASON: fails with a reason, passes with an empty one
  if [ -z "$2" ]; then printf 'PASS  %s\n' "$1"; else printf 'FAIL  %s: %s\n' "$1" "$2"; failed=1; fi
}
skip() { printf 'SKIP  %s: %s\n' "$1" "$2"; }
tddfa() { "$python" -m tddfa "$@"; }
export python
export -f tddfa

ends() { # NAME STATUS PATTERN COMMAND: with this status, soon; errors in a line or two, with the pattern
  local name=$1 status=$2 pattern=$3 got reason=""
  shift 3
  timeout --kill-after=5 300 bash -c 'ulimit -t 30; "$@"' -- "$@" >out 2>err
  got=$?
  if [ "$got" = 124 ] || [ "$got" = 137 ]; then reason="no end within 300 s, or 30 s of the processor"
  elif [ "$got" != "$status" ]; then reason="status $got, expected $status: $(tail -1 err | cut -c1-150)"
  elif grep -q Traceback out err; then reason="a traceback"
  elif grep -q 'a bug in tddfa' err; then reason="$(tail -1 err | cut -c1-150)"
  elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" err; then reason="no '$pattern' in: $(tail -1 err | cut -c1-150)"
  elif [ -n "$pattern" ] && [ "$(wc -l <err)" -gt "${lines:-2}" ]; then reason="$(wc -l <err) lines of errors"
  elif LC_ALL=C grep -q $'[\001-\010\013-\037\177]' err; then reason="control characters in the errors"
  fi
  verdict "$name" "$reason"
}

settings() { # OLD_KEY=VALUE…: config.yml, on the default one, with these keys by the names that they have now
  "$python" - "$@" >config.yml <<'PYTHON'
import dataclasses, json, sys
from tddfa.model import config
from tddfa.model.assets import config_path
sections = {"": config.Config, "detector": config.FaceBoxesConfig, "crop": config.CropRule}
lines = {"": ["base: open_mb05"]}
if any(pair.startswith("detector.") for pair in sys.argv):
    network = config.Config.load(config_path("open_mb05")).detector
    lines["detector"] = [f"model: {network.model}"]
for pair in sys.argv[1:]:
    key, _, value = pair.partition("=")
    section, _, name = key.rpartition(".")
    kind = sections[section]
    name = getattr(kind, "RENAMED", {}).get(name, name)
    if name not in {field.name for field in dataclasses.fields(kind)}:
        sys.exit(f"{kind.__name__} has no key {name}, and does not tell its new name")
    lines.setdefault(section, []).append(f"{name}: {value}")
for section, content in lines.items():
    print(*([f"{section}:"] if section else []), *("  " * bool(section) + line for line in content), sep="\n")
PYTHON
}
with_settings() { # NAME STATUS PATTERN OLD_KEY=VALUE…
  local name=$1 status=$2 pattern=$3
  shift 3
  if settings "$@" 2>err; then ends "$name" "$status" "$pattern" tddfa image -c config.yml -f "$photo" --out o
  else verdict "$name" "no settings: $(tail -1 err)"; fi
}

# Outputs beside --out
mkdir in && cp "$photo" in/..jpg && echo mine >results.json
ends 'photo ..jpg' 0 '' tddfa image -f in --json --out results
before="config.yml err in o out results results.json small"
verdict 'photo ..jpg: nothing beside --out' "$(
  [ "$(cat results.json)" = mine ] || echo 'results.json is not the one of before; '
  for there in *; do [[ " $before " == *" $there "* ]] || printf 'there is %s; ' "$there"; done
  [ -n "$(ls -A results)" ] || echo 'nothing in results'
)"

# A full disk
mkdir small
for suffix in parquet npz jsonl; do
  name="video --save .$suffix, disk full"
  if mount -t tmpfs -o size=12k tmpfs small 2>/dev/null; then
    echo 'the old one' >small/s.$suffix
    ends "$name" 1 "s\.$suffix" tddfa video -f "$clip" --no_video --save small/s.$suffix
    verdict "$name: the old file" "$([ "$(cat small/s.$suffix)" = 'the old one' ] || echo 'it is not whole')"
    umount -l small
  else skip "$name" 'a file system cannot be mounted (needs root)'; fi
done

# A process that forks after a video was closed
for how in 'child exits as Python does' 'child drops it' 'dropped before fork'; do
  timeout --kill-after=5 60 "$python" "$cases/fork_with_closed_reader.py" "$how" "$clip" >out 2>err
  verdict "fork, $how" "$(grep -q "^$how : fine$" out || echo "not fine: $(cat out err | tail -1)")"
done

# Settings
for file in tag_int tag_timestamp; do
  ends "-c $file.yml" 1 "$file\.yml" tddfa image -c "$cases/$file.yml" -f "$photo" --out o
  ends "--intrinsics $file.yml" 1 "$file\.yml" tddfa image --intrinsics "$cases/$file.yml" -o 6dof -f "$photo" --out o
  if "$python" -c 'import torch' 2>/dev/null; then
    ends "train --config $file.yml" 1 "$file\.yml" tddfa train regressor --config "$cases/$file.yml" --out t
  else skip "train --config $file.yml" 'needs torch'; fi
done
with_settings 'settings that are taken' 0 '' "face_model=$checkout/configs/open_face.npz" detector.max_faces=9
for file in "$cases"/npz_header_face_model.npz "$cases"/face_model_*.npz; do
  with_settings "$(basename "$file")" 1 "$(basename "$file")" "face_model=$file"
done
with_settings 'detector.max_faces' 1 'max_faces' detector.max_faces=99999999999
with_settings 'detector.max_height' 1 'max_height' "detector.max_height=1$(printf '0%.0s' {1..400})"
if "$python" -c 'import torch' 2>/dev/null; then
  ends 'npz_header_labels' 1 'npz_header_labels' \
    tddfa train convention o.npz "$cases/npz_header_labels" --like open_mb05 --name x
else skip 'npz_header_labels' 'needs torch'; fi

# Boxes
ends 'boxes_1e38.json' 1 'boxes' tddfa image --boxes "$cases/boxes_1e38.json" -o obj -f "$photo" --out o
echo '0 0 200000 200000' >huge.txt
ends 'box of 200,000 px' 0 '' tddfa image --boxes huge.txt -o 2d_dense -f "$photo" --out o
ends '--boxes /dev/zero, 9 GB' 1 '/dev/zero' bash -c \
  "ulimit -v 9000000; tddfa image --boxes /dev/zero -f '$photo' --out o"

# Standard output
ends 'closed standard output' 0 '' bash -c "tddfa image -f '$photo' --out o >&-"

# Released files
if [ -d "$upstream" ]; then
  mkdir co
  ends 'pickle claims 2^40 bytes' 1 'claims_2_40_bytes\.pkl' bash -c \
    "ulimit -v 9000000; tddfa fetch 3ddfa_v2 --from '$upstream' --bfm '$cases/claims_2_40_bytes.pkl'"
  mkdir -p cache/3ddfa_v2 && cp "$cases/made_deep.json" cache/3ddfa_v2/made.json
  lines=9 ends 'made.json, nested deeply' 1 'no such file' tddfa fetch 3ddfa_v2 --from co
else skip 'released files' "no folder $upstream"; fi

# Without end, or far too large
mkfifo pipe.mp4 pipe.txt pipe.json
ends 'pipe as a video' 1 'pipe\.mp4' tddfa video -f pipe.mp4 --out o
ends 'pipe as --boxes' 1 'pipe\.txt' tddfa image --boxes pipe.txt -f "$photo" --out o
ends 'pipe as --intrinsics' 1 'pipe\.json' tddfa image --intrinsics pipe.json -o 6dof -f "$photo" --out o
ends 'WebP of 1507424 x 96 px' 1 'wide_1507424x96\.webp' tddfa video -f "$cases/wide_1507424x96.webp" --out o

# Reach
cp "$clip" other.mp4
printf '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n' >list.m3u8
for source in concat:other.mp4 subfile,,start,0,end,0,,:other.mp4 list.m3u8 gopher://127.0.0.1:9/x; do
  ends "video -f $source" 1 'list|other|gopher' tddfa video -f "$source" --out o
done

# Names
ends 'control characters in a name' 1 'x1b' tddfa image -f $'a\e[2J.jpg' --out o
exit "$failed"
