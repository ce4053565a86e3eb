# For the scripts of this folder: finding PACKAGE@VERSION… runs the program on standard input, and compares its output with $expected.
finding() {
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  echo '{ "type": "module", "private": true }' >"$folder/package.json"
  npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --silent --save-exact "$@"
  cat >"$folder/finding.mjs"
  local seen
  seen=$(cd "$folder" && timeout 60 node finding.mjs 2>&1) || true
  echo "$seen"
  if [ "$seen" != "$expected" ]; then
    printf 'CHANGED: this was seen before:\n%s\n' "$expected"
    return 1
  fi
}
