#!/bin/sh
# Partitions the test disks, makes their file systems and fills them from one archive, without mounting anything. Runs on
# this machine, as root or as the root of a user namespace; boot loaders follow in the lab (install-loaders.sh).
#   fill-disks.sh ARCHIVE FOLDER    FOLDER has the disks of disks.js, empty, of 1 GiB
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

# An ESP for the boot loader and the kernels, and the root.
esp_and_root() {
  sfdisk -q "$1" << END
label: gpt
1: start=2048, size=262144, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
2: start=264192, size=1830912, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
END
  extfs ext4 "$1" "$tree" 264192 1830912
}
esp_and_root "$folder/debian-sdboot.img"

# Unified kernel images as systemd-stub(7) has them made: the kernel's, and one of an older version that would not boot.
#   uki VERSION KERNEL OUTPUT
uki() {
  printf 'root=LABEL=debian-uki ro quiet watchdog_thresh=60' > "$folder/cmdline"
  printf '%s' "$1" > "$folder/uname"
  { cat "$tree/usr/lib/os-release"; echo "IMAGE_VERSION=$1"; } > "$folder/os-release"
  objcopy \
    --add-section .osrel="$folder/os-release" --change-section-vma .osrel=0x20000 \
    --add-section .cmdline="$folder/cmdline" --change-section-vma .cmdline=0x30000 \
    --add-section .uname="$folder/uname" --change-section-vma .uname=0x40000 \
    --add-section .linux="$2" --change-section-vma .linux=0x2000000 \
    --add-section .initrd="$(ls "$tree"/boot/initrd.img-*)" --change-section-vma .initrd=0x4000000 \
    "$tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$3"
  rm "$folder/cmdline" "$folder/uname" "$folder/os-release"
}
kernel=$(ls "$tree"/boot/vmlinuz-*)
uki "${kernel##*/vmlinuz-}" "$kernel" "$tree/boot/new.efi"
uki 6.0.0-0-cloud-amd64 "$tree/usr/lib/os-release" "$tree/boot/old.efi"
esp_and_root "$folder/debian-uki.img"
rm "$tree/boot/new.efi" "$tree/boot/old.efi"

sfdisk -q "$folder/debian-extlinux.img" << END
label: dos
1: start=2048, size=2095104, type=83, bootable
END
extfs ext4 "$folder/debian-extlinux.img" "$tree" 2048 2095104

# As the RHEL family has it: /boot on XFS, which is made in the lab.
sfdisk -q "$folder/debian-xfs.img" << END
label: gpt
1: start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
2: start=4096, size=618496, type=BC13C2FF-59E6-4262-A352-B275FD6F7172
3: start=622592, size=1472512, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
END
extfs ext4 "$folder/debian-xfs.img" "$tree" 622592 1472512

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
