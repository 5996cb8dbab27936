#!/bin/sh
# The unit is gone, or another one. The token, what is in /var/lib/sluice and the user stay,
# after a purge too: they are not the package's.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
fi
