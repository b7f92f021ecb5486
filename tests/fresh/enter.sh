#!/bin/sh
# Makes a folder the root of this mount namespace and runs a command in it: enter.sh FOLDER LISTS COMMAND...
# To be called in new namespaces for mounts and processes (unshare), which end with it, and all mounts with them.
# The file LISTS names, one a line, the files and folders of this machine that are seen at the same place inside.
set -eu
folder=$1
lists=$2
shift 2

mount --bind "$folder" "$folder"
# Disks of this machine cannot be opened by a node that is made for them.
mount -o remount,bind,nodev "$folder"
mount -t proc -o nosuid,nodev,noexec proc "$folder/proc"
# As in containers: root of a system under test changes no settings of this machine.
mount --bind "$folder/proc/sys" "$folder/proc/sys"
mount -o remount,bind,ro,nosuid,nodev,noexec "$folder/proc/sys"
[ ! -e "$folder/proc/sysrq-trigger" ] || mount --bind /dev/null "$folder/proc/sysrq-trigger"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$folder/sys"

mount -t tmpfs -o nosuid,mode=755,size=1m tmpfs "$folder/dev"
for node in null zero full random urandom tty; do
    touch "$folder/dev/$node"
    mount --bind "/dev/$node" "$folder/dev/$node"
done
mkdir "$folder/dev/pts" "$folder/dev/shm"
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620 devpts "$folder/dev/pts"
# A container has no more unless it asks for it.
mount -t tmpfs -o nosuid,nodev,noexec,size=64m tmpfs "$folder/dev/shm"
ln -s pts/ptmx "$folder/dev/ptmx"
ln -s /proc/self/fd "$folder/dev/fd"
ln -s /proc/self/fd/0 "$folder/dev/stdin"
ln -s /proc/self/fd/1 "$folder/dev/stdout"
ln -s /proc/self/fd/2 "$folder/dev/stderr"

while read -r path; do
    if [ -d "$path" ]; then
        mkdir -p "$folder$path"
    else
        mkdir -p "$(dirname "$folder$path")"
        [ -e "$folder$path" ] || : >"$folder$path"
    fi
    mount --bind "$path" "$folder$path"
    mount -o remount,bind,ro "$folder$path"
done <"$lists"

cd "$folder"
# Rather than chroot, whose processes cannot make user namespaces.
pivot_root . .
umount -l .
cd /
# Not exec: the first process of the namespace takes in orphans, which is not the command's business.
"$@" </dev/null
exit $?
