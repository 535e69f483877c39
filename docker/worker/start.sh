#!/bin/sh
# sshd beside the worker, where its keys are mounted, and then the worker.
set -eu
if [ -f /etc/streamer/ssh/host_key ]; then
  /usr/sbin/sshd -D -e -f /etc/streamer/sshd_config &
fi
exec streamer "$@"
