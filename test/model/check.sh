#!/usr/bin/env bash
# Checks the model for small sizes, and that it fails with each of its defects. Needs spin and a C compiler.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Which moves of a slot are legal is the code's own table; the model fails where it makes another, and lacks none.
node "$here/moves.ts" >moves.h
cp "$here/handoff.pml" .
model=handoff.pml

# Prints the summary of one run, and gives the number of its errors.
run() {
  spin -a "$@" "$model" >/dev/null
  cc -O2 -DSAFETY -DNOREDUCE -o pan pan.c
  ./pan -m1000000 >out 2>&1
  if grep -q 'max search depth too small' out; then echo "$*: the search was not deep enough" >&2; exit 2; fi
  sed -n 's/.*errors: \([0-9]*\).*/\1/p' out
}

for size in "-DN=2 -DM=1" "-DN=3 -DM=1 -DK=1" "-DN=3 -DM=2 -DK=1"; do
  # shellcheck disable=SC2086
  errors=$(run $size)
  echo "$size: $errors errors, $(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' out) states"
  [ "$errors" = 0 ] || { cat out; exit 1; }
done
for defect in BARGE NO_REFILL EARLY_FREE LOST_CANCEL NO_MAILBOX; do
  errors=$(run -DN=3 -DM=1 -DK=1 "-D$defect")
  echo "-D$defect: found ($(grep -m1 '^pan:1:' out | cut -d' ' -f2- | sed 's/ (at depth.*//'))"
  [ "$errors" != 0 ] || { echo "the defect $defect was not found"; exit 1; }
done
