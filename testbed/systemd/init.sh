#!/bin/sh
# Give systemd control groups that it may write to, and become it.
set -e
if [ "$CGROUPS" = 1 ]; then
    mount -o remount,rw /sys/fs/cgroup
    for tree in /sys/fs/cgroup/*; do
        if mountpoint -q "$tree"; then mount -o remount,bind,rw "$tree"; fi
    done
else
    # The one hierarchy of version 2, whatever else the host has.
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
exec /sbin/init
