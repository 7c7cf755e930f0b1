#!/usr/bin/env bash
# The tests and measurements that need a GPU, in all four builds: Burn's fusion and autotune, each on and off.
#
#   benches/gpu.sh build DIR   # on any machine with Rust: builds all programs into DIR
#   benches/gpu.sh run DIR     # beside the GPU: writes DIR/report.md in at most ten minutes
#
# `run` builds and installs nothing. It needs Python 3.10, and torch with CUDA for the rows of torch. Software adapters
# serve for a trial. Four release builds take as long as a quarter of an hour each on a slow machine.
#
# Settings: BUILDS, a list of the builds (default: all four); CARGO_FLAGS (default: --release); SECONDS_PER_STEP, the limit
# of a test or measurement (default: 45); ONLY, a part of the names of the cases of peers.py; MNIST_DEVICE (default: wgpu;
# wgpu-cpu for a software adapter).
set -euo pipefail
cd "$(dirname "$0")/.."

command=${1:-}
directory=${2:-}
if [[ $command != build && $command != run || -z $directory ]]; then
    sed -n '2,13s/^# \{0,1\}//p' benches/gpu.sh >&2
    exit 2
fi
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
builds=${BUILDS:-plain autotune fusion fusion+autotune}

features_of() {
    case $1 in
        plain) echo "" ;;
        autotune) echo ",burn/autotune" ;;
        fusion) echo ",burn/fusion" ;;
        fusion+autotune) echo ",burn/fusion,burn/autotune" ;;
        *)
            echo "no build is named $1" >&2
            exit 2
            ;;
    esac
}

# The program that cargo names in its messages.
built() {
    cargo "$@" --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

build() {
    local flags=(${CARGO_FLAGS---release}) name
    for name in $builds; do
        local features out=$directory/$name
        features=$(features_of "$name")
        mkdir -p "$out"
        cp "$(built test --no-run "${flags[@]}" --features "wgpu$features" --test suite)" "$out/suite"
        cp "$(built build "${flags[@]}" --features "wgpu$features" --bench peers)" "$out/peers"
        cp "$(built build "${flags[@]}" --features "wgpu$features" --bench starts)" "$out/starts"
        cp "$(built build "${flags[@]}" -p mnist --features "wgpu$features")" "$out/mnist"
        strip --strip-debug "$out"/* || true
    done
    cp -r examples/mnist/data tests/fixtures "$directory"
    cp -r benches/peers "$directory/peers"
}

# A limit for each part, so that all of them together end in time.
limited() {
    timeout "${SECONDS_PER_STEP:-45}" "$@" 2>&1 || echo "ended with status $?"
}

run() {
    local report=$directory/report.md name gpu
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null || echo "no NVIDIA GPU")
    export CENTER_LOSS_FIXTURES=$directory/fixtures
    {
        echo "# GPU report"
        echo
        echo "$gpu, $(nproc) processor cores, $(date --utc +%F)"
    } >"$report"
    for name in $builds; do
        echo "== $name"
        {
            printf '\n## Build: wgpu, %s\n\n### Tests\n\n```text\n' "$name"
            limited "$directory/$name/suite" --test-threads 1 golden plain | grep -E '^(test result|ended|.*FAILED)' || true
            limited "$directory/$name/suite" --test-threads 1 contract | grep -E '^(test result|ended|.*FAILED)' || true
            printf '```\n\n### Kernels of a step\n\n'
            limited "$directory/$name/starts" --bench | grep '^|' || true
            printf '\n### Loss and margin rows\n\n'
            limited python3 "$directory/peers/peers.py" --device wgpu --binary "$directory/$name/peers" --python python3 \
                --only "${ONLY:-C100000 D128}" --rounds 2 --seconds 0.5
            printf '\n### The MNIST job, twice\n\n```text\n'
            for _ in 1 2; do
                rm -rf "$directory/runs"
                time limited "$directory/$name/mnist" --data-dir "$directory/data" --device "${MNIST_DEVICE:-wgpu}" --out-dir "$directory/runs"
            done
            printf '```\n'
        } >>"$report" 2>&1
    done
    cat "$report"
}

"$command"
