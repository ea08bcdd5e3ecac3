#!/bin/sh
# Starts a server of its own, finds masks for the real weights of tests/data in four patterns, proves
# one of them offline, prints one table, and stops the server.
#
#   sh deploy/demo.sh BIN_DIR        BIN_DIR: the folder of tsenor-server and tsenor
#
# Everything it writes, the server's Unix socket too, lies in a temporary folder. However the script
# ends, folder and server are gone. Exit code 0 only if every step succeeded.
set -eu

patterns="16:32 8:16 4:8 2:4"
startup_seconds=30   # a sanitizer build on a busy machine starts within a few

[ $# -eq 1 ] || { echo "usage: demo.sh BIN_DIR" >&2; exit 2; }
bin=$(cd "$1" && pwd)
weights=$(cd "$(dirname "$0")/.." && pwd)/tests/data/minilm.safetensors
folder=$(mktemp -d)
server=""

fail() {
  echo "demo: $1" >&2
  [ ! -s "$folder/server.log" ] || sed 's/^/server: /' "$folder/server.log" >&2
  exit 1
}

clean_up() {
  status=$?
  trap - EXIT INT TERM
  if [ -n "$server" ]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start_server() {
  address="unix:$folder/socket"
  : >"$folder/server.log" # so that grep finds it before the server has started
  # Client and server share this machine: the server reads the weights itself.
  "$bin/tsenor-server" --listen "$address" --weights-directory "$(dirname "$weights")" \
    >>"$folder/server.log" 2>&1 &
  server=$!
  tenths=0
  until grep -q '^listening on' "$folder/server.log"; do
    kill -0 "$server" 2>/dev/null || fail "the server ended before it was ready"
    [ "$tenths" -lt $((startup_seconds * 10)) ] || fail "the server was not ready in $startup_seconds s"
    tenths=$((tenths + 1))
    sleep 0.1
  done
}

stop_server() {
  kill -TERM "$server"
  stopped=0
  wait "$server" || stopped=$?
  server=""
  [ "$stopped" -eq 0 ] || fail "the server stopped with exit code $stopped"
}

start_server
for pattern in $patterns; do
  name=$(echo "$pattern" | tr : -)
  "$bin/tsenor" mask "$weights" --server "$address" --pattern "$pattern" --quiet \
    --out "$folder/masks-$name.safetensors" --report "$folder/$name.json" >"$folder/mask.log" 2>&1 ||
    fail "masks of pattern $pattern: $(cat "$folder/mask.log")"
  set -- "$@" "$folder/$name.json"
done
shift # BIN_DIR: what is left are the reports
"$bin/tsenor" verify "$weights" "$folder/masks-16-32.safetensors" --pattern 16:32 \
  >"$folder/verify.log" 2>&1 || fail "verification of pattern 16:32: $(cat "$folder/verify.log")"
"$bin/tsenor" report "$@" || fail "no table from the reports"
stop_server
