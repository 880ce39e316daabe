#!/bin/sh
# Fuzzes each target, or those that are named, for some seconds: run.sh SECONDS [TARGET…]
# libFuzzer comes with the crate libfuzzer-sys; coverage is the compiler's own, so a stable toolchain will do.
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
[ $# -gt 0 ] || set -- command archive channel procfile slugignore release_document
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
# With a target triple the flags are not those of build scripts and macros.
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --locked --release --target "$triple"
for target; do
  # New inputs stay here; a finding is a file crash-… and a test of the crate that it is in.
  mkdir -p "corpus/$target"
  echo "fuzzing $target for $seconds seconds"
  "target/$triple/release/$target" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -artifact_prefix="crash-$target-" \
    > "corpus/$target.log" 2>&1 || {
      tail -n 40 "corpus/$target.log" >&2
      echo "$0: $target: a finding; its input is in $PWD/crash-$target-*" >&2
      exit 1
    }
  grep '^stat::number_of_executed_units' "corpus/$target.log"
done
