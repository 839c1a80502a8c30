#!/bin/sh
# Partitions the test disks, makes their file systems and fills them from one archive, without mounting anything. Runs on
# this machine, as root or as the root of a user namespace; grub follows in the lab (install-grub.sh).
#   fill-disks.sh ARCHIVE FOLDER    FOLDER has the empty debian-gpt.img, debian-mbr.img and debian-bare.img, of 1 GiB
set -eu
archive=$1
folder=$2
tree=$folder/tree
trap 'rm -rf "$tree"' EXIT

# An ext file system at a place in a disk, its directories hashed as the kernel's are when they grow.
#   extfs TYPE DISK TREE START SIZE    in sectors of 512 bytes
extfs() {
  mke2fs -q -F -t "$1" -d "$3" -E "offset=$(($4 * 512)),lazy_itable_init=0,nodiscard" "$2" "$(($5 / 2))k"
  e2fsck -fyD "$2?offset=$(($4 * 512))" > /dev/null 2>&1 || [ $? = 1 ] # 1: it changed something, as it was asked to
  e2fsck -fn "$2?offset=$(($4 * 512))" > /dev/null 2>&1
}

# Device nodes are left out, since a user namespace may not make them: the kernel's devtmpfs has them.
mkdir -p "$tree"
tar -xf "$archive" -C "$tree" --numeric-owner --exclude='./dev/*'

# As Debian's cloud images have it: the root is the first in number and the last in place.
sfdisk -q "$folder/debian-gpt.img" << END
label: gpt
1: start=139264, size=1955840, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649
15: start=8192, size=131072, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
END
extfs ext4 "$folder/debian-gpt.img" "$tree" 139264 1955840

extfs ext4 "$folder/debian-bare.img" "$tree" 0 2097152

# The root is a logical partition, /boot a primary one of its own, on the older file system.
sfdisk -q "$folder/debian-mbr.img" << END
label: dos
1: start=2048, size=262144, type=83, bootable
2: start=264192, type=5
5: start=266240, size=1830912, type=83
END
extfs ext2 "$folder/debian-mbr.img" "$tree/boot" 2048 262144
rm -rf "$tree/boot"
mkdir "$tree/boot"
extfs ext4 "$folder/debian-mbr.img" "$tree" 266240 1830912
