#!/bin/sh
# PID 1 of the lab host. Mounts what a system has, loads the modules of a KVM host, brings Node and the agent in from
# the `in` drive, and runs the agent until it ends, which ends the machine.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

off() {
  sync
  echo o > /proc/sysrq-trigger
  sleep 60
}
fail() {
  echo "lab: $*" >&2
  off
}

mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mountpoint -q /run || mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/pts /dev/shm
mountpoint -q /dev/pts || mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mountpoint -q /dev/shm || mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
hostname lab
ip link set lo up
# Emulation makes honest work look like a lockup.
echo 60 > /proc/sys/kernel/watchdog_thresh
for module in kvm_amd virtio_console virtio_rng tun vhost_net vhost_vsock loop overlay fuse vfat; do
  modprobe "$module" || fail "no kernel module $module"
done
[ -c /dev/kvm ] || fail 'no /dev/kvm'

# Drives and ports are found by the name they were given outside, not by the order of their discovery.
drive() {
  for disk in /sys/block/vd*; do
    [ "$(cat "$disk/serial")" = "$1" ] && echo "/dev/${disk##*/}" && return
  done
  fail "no drive $1"
}
port() {
  for node in /sys/class/virtio-ports/*; do
    [ "$(cat "$node/name")" = "$1" ] && echo "/dev/${node##*/}" && return
  done
  fail "no port $1"
}
in=$(drive in) && agent_port=$(port agent) || off

mount -o ro "$in" /lab/in || fail 'cannot mount the drive with the agent'
cp -a /lab/in/agent /lab/agent && sh /lab/agent/install-node.sh /lab/in/node || fail 'cannot install Node and the agent'
umount /lab/in

ulimit -H -n 524288 # as on any Debian with systemd; many machines in a process need many files
setsid node /lab/agent/agent.js "$agent_port" &
agent=$!
# `wait` also reaps the orphans that become ours.
while kill -0 "$agent" 2> /dev/null; do wait "$agent"; done
off
