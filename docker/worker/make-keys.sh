#!/bin/sh
# Keys of the installation's own, made once: one by which workers pull from each other, and a host
# key for each. `make-keys.sh DIRECTORY HOST...`; each host gets DIRECTORY/HOST.
set -eu
place=$1
shift
[ -f "$place/complete" ] && exit 0
rm -rf "${place:?}"/*
mkdir "$place/shared"
ssh-keygen -q -t ed25519 -N '' -C streamer -f "$place/shared/pull_key"
for host in "$@"; do
  mkdir "$place/$host"
  ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$place/$host/host_key"
  printf '[%s]:2222 %s\n' "$host" "$(cut -d' ' -f1,2 "$place/$host/host_key.pub")" \
    >> "$place/shared/known_hosts"
done
for host in "$@"; do
  cp "$place/shared/pull_key" "$place/shared/known_hosts" "$place/$host/"
  cp "$place/shared/pull_key.pub" "$place/$host/authorized_keys"
  chmod 600 "$place/$host/host_key" "$place/$host/pull_key"
done
touch "$place/complete"
