#!/bin/sh
# sshd beside the worker, where its keys are mounted, and then the worker. An sshd that ends is
# started again: nobody else would, since the container lives as long as its worker does.
set -eu
if [ -f /etc/streamer/ssh/host_key ]; then
  (
    while :; do
      /usr/sbin/sshd -D -e -f /etc/streamer/sshd_config || true
      echo "start.sh: sshd has ended, and is started again" >&2
      sleep 1
    done
  ) &
fi
exec streamer "$@"
