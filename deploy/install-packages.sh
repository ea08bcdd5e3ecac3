#!/bin/sh
# Installs the Debian packages that the given lists name (one a line, # starts a comment). Does
# nothing, and needs neither network nor privilege, if all of them are there already.
#
#   sh deploy/install-packages.sh LIST...
set -eu

# Without a file, sed would wait for standard input.
[ $# -gt 0 ] || { echo "usage: install-packages.sh LIST..." >&2; exit 2; }

packages=$(sed 's/#.*//' "$@")
missing=""
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null) || status=""
  case " $status" in
    *" installed "*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "run this as root, or install sudo" >&2; exit 1; }
  as_root="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
# Another apt may be at work, on a machine that has just started say: wait for it, at most this long.
options="-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0"
# shellcheck disable=SC2086  # words on purpose
$as_root apt-get $options update
# shellcheck disable=SC2086
$as_root apt-get $options install --yes --no-install-recommends $missing >/dev/null
