#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for SECONDS each. Usage: tools/fuzz.sh SECONDS [TARGET...]
#
# Builds with the coverage passes that stable rustc has, so no nightly toolchain and no cargo-fuzz is
# needed. A finding ends the run; its input is left in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}
shift
host=$(rustc -vV | sed -n 's/^host: //p')
if [ $# -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi

# The library below is instrumented; --target keeps build scripts and macros out of it.
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$(echo $RUSTFLAGS)
cargo build --quiet --release --target "$host" --manifest-path fuzz/Cargo.toml

for target in "$@"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "fuzzing $target for $seconds s"
    "fuzz/target/$host/release/$target" -max_total_time="$seconds" -max_len=8192 -timeout=5 \
        -rss_limit_mb=2048 -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 \
        "fuzz/corpus/$target" tests/vectors/rfc4475 tests/vectors/rfc5118 \
        2>&1 | grep -E 'ERROR|panicked|SUMMARY|stat::number_of_executed_units|Test unit written' || true
    [ "${PIPESTATUS[0]}" -eq 0 ] || { echo "fuzzing $target found something" >&2; exit 1; }
done
