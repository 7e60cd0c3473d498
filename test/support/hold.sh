#!/bin/sh
# Holds a mount and a network namespace for one test engine, and clears everything that lived in them once its standard
# input ends: the tests close it, and so does the kernel when the test process dies.
#
#     unshare --mount --net --propagation private hold.sh ROOT INSTANCE
#
# ROOT is the engine's folder, INSTANCE the name of its cgroups.
root=$1
instance=$2
trap '' INT TERM HUP

ip link set lo up
echo ready
read -r _

mine=$(readlink /proc/self/ns/mnt | sed 's/[][]/\\&/g')
residents() {
  find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/mnt' -lname "$mine" 2>/dev/null | cut -d/ -f3 | grep -vx $$
}
contained() {
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$hierarchy/$instance" ] || continue
    find "$hierarchy/$instance" -name cgroup.procs -exec cat {} + 2>/dev/null
  done
}
thaw() {
  [ -d "/sys/fs/cgroup/freezer/$instance" ] &&
    find "/sys/fs/cgroup/freezer/$instance" -depth -name freezer.state -exec sh -c 'echo THAWED > "$1"' - {} \; 2>/dev/null
  find "/sys/fs/cgroup/$instance" "/sys/fs/cgroup/unified/$instance" -depth -name cgroup.freeze \
    -exec sh -c 'echo 0 > "$1"' - {} \; 2>/dev/null
}

# The engine's own processes first: a monitor or keeper would start again what is killed before it.
try=0
while [ $try -lt 50 ]; do
  try=$((try + 1))
  alive=
  for pid in $(residents); do
    kill -9 "$pid" 2>/dev/null && alive=yes
  done
  thaw
  for pid in $(contained | sort -u); do
    [ "$pid" != 0 ] && kill -9 "$pid" 2>/dev/null && alive=yes
  done
  [ -z "$alive" ] && break
  sleep 0.02
done

awk -v root="$root/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r point; do
  umount -l "$(printf %b "$point")"
done
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
  [ -d "$hierarchy/$instance" ] && find "$hierarchy/$instance" -depth -type d -exec rmdir {} + 2>/dev/null
done
rm -rf --one-file-system "$root"
