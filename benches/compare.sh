#!/usr/bin/env bash
# Ours, songbird and the bare floors under the same load, in turn, and a table of medians and ratios.
#
#   benches/compare.sh [--calls "500 1000"] [--seconds 20] [--rounds 3] [--encode] [--busy]
#
#   --calls "N .."         calls at a time, one table each
#   --seconds S            for how long each run is measured
#   --rounds R             how often everything is run
#   --encode               compare calls that encode what they send, too
#   --encode-calls "N .."  with how many calls (default 100: a processor encodes for about 150)
#   --busy                 have a neighbour keep the client's processor busy
#   --client-cpu N, --server-cpu N   the processors (default 0 and 1)
#   --only "PROGRAM .."    of ours, ours-dave, ours-real-time (with DAVE too), songbird, floor (default: all but ours-real-time)
#   --out FILE             keep what the programs print, one line a run
#   --no-build             take what is built
#
# songbird's libopus needs cmake and a C compiler, or the system's library:
#   apt-get install cmake gcc        or        apt-get install libopus-dev pkg-config gcc
set -euo pipefail

calls="500 1000" seconds=20 rounds=3 encode= encode_calls=100 busy= client=0 server=1 out= build=1
only="floor ours songbird ours-dave"
while (($#)); do
    case $1 in
        --calls) calls=$2; shift ;;
        --seconds) seconds=$2; shift ;;
        --rounds) rounds=$2; shift ;;
        --encode) encode=1 ;;
        --encode-calls) encode_calls=$2; shift ;;
        --busy) busy=1 ;;
        --client-cpu) client=$2; shift ;;
        --server-cpu) server=$2; shift ;;
        --only) only=$2; shift ;;
        --out) out=$2; shift ;;
        --no-build) build= ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "unknown argument: $1 (see --help)" >&2; exit 2 ;;
    esac
    shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
peers=${CARGO_TARGET_DIR:-$root/benches/peers/target}/release
main=${CARGO_TARGET_DIR:-$root/target}/release

wanted() { [[ " $only " == *" $1 "* ]]; }

if [[ $build ]]; then
    if wanted songbird && ! command -v cmake >/dev/null && ! pkg-config --exists opus 2>/dev/null; then
        echo "songbird's libopus needs cmake, or the system's library with pkg-config:" >&2
        echo "  apt-get install cmake gcc        or        apt-get install libopus-dev pkg-config gcc" >&2
        exit 1
    fi
    features=()
    wanted songbird || features=(--no-default-features)
    cargo build --release -p voice-cli -p voice-bench --bins >&2
    cargo build --release --manifest-path benches/peers/Cargo.toml "${features[@]}" >&2
fi

lines=${out:-$(mktemp)}
neighbour=
clean() {
    [[ -z $neighbour ]] || kill "$neighbour" 2>/dev/null || true
    [[ $out ]] || rm -f "$lines"
}
trap clean EXIT
trap 'exit 130' INT TERM
: >"$lines"

common=(--seconds "$seconds" --pin-client "$client")
served=(--pin-server "$server" --server-binary "$main/discord-voice")
# Joins and memory take their time; nothing may take for ever.
limit=$((${seconds%.*} + 300))

# run LABEL PROGRAM ARGUMENTS..: one run, one line. One that fails is told, and the others go on.
run() {
    local label=$1 line
    shift
    echo "  $label: ${*##*/}" >&2
    if [[ $busy ]]; then
        "$peers/busy" --pin "$client" --seconds "$limit" &
        neighbour=$!
    fi
    if line=$(timeout "$limit" "$@" | tail -n 1) && [[ $line == "{"* ]]; then
        printf '%s\t%s\n' "$label" "$line" >>"$lines"
    else
        echo "  $label failed" >&2
    fi
    if [[ $neighbour ]]; then
        kill "$neighbour" 2>/dev/null || true
        wait "$neighbour" 2>/dev/null || true
        neighbour=
    fi
}

for ((round = 1; round <= rounds; round++)); do
    for n in $calls; do
        echo "round $round of $rounds: $n calls" >&2
        load=(--calls "$n" "${common[@]}")
        wanted floor && run floor-send "$peers/floor-send" "${load[@]}" "${served[@]}"
        wanted ours && run ours "$main/load" --mode passthrough --dave off "${load[@]}" "${served[@]}"
        wanted songbird && run songbird "$peers/songbird-load" --mode passthrough "${load[@]}" "${served[@]}"
        wanted ours-dave && run "ours, DAVE" "$main/load" --mode passthrough --dave on "${load[@]}" "${served[@]}"
        wanted ours-real-time && run "ours, DAVE, real time" "$main/load" --mode passthrough --dave on --real-time "${load[@]}" "${served[@]}"
    done
    [[ $encode ]] || continue
    for n in $encode_calls; do
        echo "round $round of $rounds: $n calls that encode" >&2
        load=(--calls "$n" "${common[@]}")
        wanted floor && run floor-send "$peers/floor-send" "${load[@]}" "${served[@]}"
        wanted floor && run floor-encode "$peers/floor-encode" "${load[@]}"
        wanted ours && run ours "$main/load" --mode encode --dave off "${load[@]}" "${served[@]}"
        wanted songbird && run songbird "$peers/songbird-load" --mode encode "${load[@]}" "${served[@]}"
        wanted ours-dave && run "ours, DAVE" "$main/load" --mode encode --dave on "${load[@]}" "${served[@]}"
    done
done

"$peers/compare-table" <"$lines"
