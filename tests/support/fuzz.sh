#!/bin/sh
# fuzz.sh PROGRAM FOLDER NAME - runs the fuzzer FOLDER/NAME.c from its seeds for SIPEAT_FUZZ_SECONDS (10).
# What it learns and what it finds lies beside the program, in PROGRAM.corpus/ and PROGRAM.found/; each run begins
# with the seeds alone.
set -eu
rm -rf "$1.corpus"
mkdir -p "$1.corpus" "$1.found"
# Lua keeps memory between inputs, which would start a search for leaks after each of them.
leaks=1
[ ! -e "$2/$3.lua" ] || leaks=0
exec "$1" -max_total_time="${SIPEAT_FUZZ_SECONDS:-10}" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
  -detect_leaks=$leaks -print_final_stats=1 -artifact_prefix="$1.found/" "$1.corpus" "$2/corpus/$3"
