#!/bin/busybox sh
# The first program of the machines of suite.sh. Its root file system is the host's, seen through
# 9p and an overlay, so that what is written stays in memory; in it /job is run.
b=/bin/busybox

start() {
  set -e
  $b mount -t proc proc /proc
  for module in /modules/*; do
    $b insmod "$module"
  done
  $b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 host /host
  $b mount -t tmpfs tmpfs /writes
  $b mkdir /writes/upper /writes/work
  $b mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work overlay /root
  $b mount -t proc proc /root/proc
  $b mount -t sysfs sysfs /root/sys
  $b mount -t devtmpfs devtmpfs /root/dev
  $b mount -t tmpfs tmpfs /root/run
  $b cp /job /root/run/job
  exec $b chroot /root /bin/bash /run/job
}

(start)
$b poweroff -f
