#!/bin/sh
# Give systemd control groups of its own, of the version asked for and whatever the host has, and become it.
set -e
umount -R /sys/fs/cgroup
if [ "$CGROUPS" = 1 ]; then
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
exec /sbin/init
