#!/usr/bin/env bash
# A machine that boots: `unshare -m -p -f -C tests/boot.sh FOLDER TARGET ROOM [PYTHONPATH]`. systemd is process 1 over
# this machine's files, which it cannot change (those in /tmp, too: the program may lie there); FOLDER alone is the real
# one. Its units come from FOLDER/systemd; of the distribution's own only the journal is started. ROOM is an empty folder
# for what it is made of.
set -euo pipefail
folder=$1 target=$2 room=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$room"
mkdir "$room/up" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/up,workdir=$room/work" "$room/root"
root="$room/root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for place in run sys; do mount -t tmpfs tmpfs "$root/$place"; done
mkdir -p "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
mkdir -p "$root/$folder"
mount --bind "$folder" "$root/$folder"
for path in "$root"/{etc,usr/lib,lib}/systemd/system/*.wants "$root"/{etc,usr/lib,lib}/systemd/system-generators; do rm -rf "$path"; done
units="$root/etc/systemd/system"
mkdir -p "$units/sysinit.target.wants" "$units/sockets.target.wants"
ln -s /lib/systemd/system/systemd-journald.service "$units/sysinit.target.wants/"
ln -s /lib/systemd/system/systemd-journald.socket "$units/sockets.target.wants/"
cp "$folder"/systemd/* "$units/"
if [ -n "${4:-}" ]; then
    for unit in "$units"/*@.service; do
        mkdir -p "$unit.d"
        printf '[Service]\nEnvironment=PYTHONPATH=%s\n' "$4" >"$unit.d/here.conf"
    done
fi
exec chroot "$root" /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit="$target"
