#!/bin/sh
# dpkg says remove, rpm says how many versions stay: an upgrade stops nothing.
set -e
case $1 in remove | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl --quiet disable --now sluice.service || :
fi
