#!/bin/sh
# The VM's init: makes of a kernel what a Docker engine and portferry-guest expect, offers a shell on a virtio
# port, and leaves the rest to /portferry/start on the second drive, which each run of the tests makes anew.
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o ro /dev/vdb /portferry
hostname vm
ip link set lo up

# The second drive says which modules it needs beside the shell's.
modprobe virtio_console
while read -r module; do modprobe "$module"; done </portferry/modules

# Links such as udev makes: /dev/virtio-ports/NAME.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
  name=$(cat "$port/name" 2>/dev/null)
  [ -z "$name" ] || ln -s "../${port##*/}" "/dev/virtio-ports/$name"
done

# A shell for the tests. The port has one opener at a time, and reads as ended while nobody is connected outside.
exec 9<>/dev/virtio-ports/shell
(while :; do cat <&9; sleep 0.2; done | while :; do sh >&9 2>&1 9<&-; done) &
. /portferry/start
echo 'vm: up'
# The first process must never end, and takes over what others leave behind.
while :; do wait; sleep 1; done
