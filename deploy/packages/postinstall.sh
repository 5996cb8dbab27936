#!/bin/sh
# After the files of a package are there: the user and, on an upgrade, the new program, to which
# the running one hands over its sessions. dpkg and rpm differ in what they say here ($1), and
# nothing goes by it. What systemd refuses does not leave a package half installed.
set -e
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers sluice.conf
elif command -v useradd >/dev/null && ! getent passwd sluice >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin sluice
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  if systemctl --quiet is-active sluice.service; then
    systemctl kill --kill-who=main --signal=SIGUSR2 sluice.service || :
  fi
fi
