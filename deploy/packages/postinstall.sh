#!/bin/sh
# After the files of a package are there: the user, the token's file, and on an upgrade the new
# program, to which the running one hands over its sessions.
set -e
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers sluice.conf
elif ! getent passwd sluice >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin sluice
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if systemctl --quiet is-active sluice.service; then
    systemctl kill --kill-who=main --signal=SIGUSR2 sluice.service
  fi
fi
