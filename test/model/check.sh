#!/usr/bin/env bash
# Checks the models for small sizes, and that each fails with each of its defects. Needs spin and a C compiler.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Which moves of a slot are legal is the code's own table; the model fails where it makes another, and lacks none.
node "$here/moves.ts" >moves.h
cp "$here"/*.pml .

# Runs a model, and prints the number of its errors. The model of the drain is checked for what happens in the end, with
# weak fairness; that of the hand-off for states.
run() {
  spin -a "${@:2}" "$1" >/dev/null
  if [ "$1" = drain.pml ]; then
    cc -O2 -DNFAIR=3 -o pan pan.c
    ./pan -a -f -m1000000 >out 2>&1
  else
    cc -O2 -DSAFETY -DNOREDUCE -o pan pan.c
    ./pan -m1000000 >out 2>&1
  fi
  if grep -q 'max search depth too small' out; then echo "$*: the search was not deep enough" >&2; exit 2; fi
  sed -n 's/.*errors: \([0-9]*\).*/\1/p' out
}

# check MODEL SIZE: nothing is violated. must_fail MODEL SIZE DEFECT: something is.
check() {
  # shellcheck disable=SC2086
  errors=$(run "$1" $2)
  echo "$1 $2: $errors errors, $(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' out) states"
  [ "$errors" = 0 ] || { cat out; exit 1; }
}
must_fail() {
  # shellcheck disable=SC2086
  errors=$(run "$1" $2 "-D$3")
  echo "$1 -D$3: found ($(grep -m1 '^pan:1:' out | cut -d' ' -f2- | sed 's/ (at depth.*//'))"
  [ "$errors" != 0 ] || { echo "the defect $3 was not found"; exit 1; }
}

for size in "-DN=2 -DM=1" "-DN=3 -DM=1 -DK=1" "-DN=3 -DM=2 -DK=1"; do check handoff.pml "$size"; done
for defect in BARGE NO_REFILL EARLY_FREE LOST_CANCEL NO_MAILBOX; do
  must_fail handoff.pml "-DN=3 -DM=1 -DK=1" "$defect"
done
for size in "-DM=1 -DS=3 -DX=2" "-DM=2 -DS=3 -DX=2" "-DM=2 -DS=4 -DX=2"; do check drain.pml "$size"; done
for defect in NO_DRAIN TAKES_SEATS OVERTAKES GIVES_BUSY KEEPS_EMPTY; do
  must_fail drain.pml "-DM=1 -DS=3 -DX=1" "$defect"
done
