#!/bin/sh
# Finishes the test disks with Debian's own grub-install and update-grub. Runs as root in the lab host, which has the
# disks as drives `gpt`, `mbr` and `bare`, filled by fill-disks.sh.
#
# Each disk is alone while it is worked on, and so is /dev/vda, as in a real installation.
set -eu
virtio=/sys/bus/virtio/drivers/virtio_blk

drive() {
  for disk in /sys/block/vd*; do
    [ "$(cat "$disk/serial")" = "$1" ] && echo "${disk##*/}" && return
  done
  echo "no drive $1" >&2
  return 1
}
uuid() { blkid -p -s UUID -o value "$1"; }

/lib/systemd/systemd-udevd --daemon # makes /dev/disk/by-uuid, without which update-grub names devices instead
udevadm trigger --subsystem-match=block

# NAME FSTAB: what tells one disk from the other
identify() {
  echo "$2" > /mnt/etc/fstab
  echo "$1" > /mnt/etc/hostname
  printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n' "$1" > /mnt/etc/hosts
}

# TARGET...: options of grub-install
grub() {
  for system in dev proc sys run; do mount --rbind "/$system" "/mnt/$system"; done
  # grub-probe runs udevadm some 16 times, each a third of a second here, for what it otherwise asks the kernel.
  mount --bind /dev/null /mnt/usr/bin/udevadm
  for target; do
    # shellcheck disable=SC2086 # several words
    chroot /mnt grub-install $target
  done
  chroot /mnt update-grub
  umount /mnt/usr/bin/udevadm
  for system in dev proc sys run; do umount -l "/mnt/$system"; done
}

install_gpt() {
  mkfs.vfat -F 32 /dev/vda15
  mount /dev/vda1 /mnt
  mkdir -p /mnt/boot/efi
  mount /dev/vda15 /mnt/boot/efi
  identify debian-gpt "UUID=$(uuid /dev/vda1) / ext4 errors=remount-ro 0 1
UUID=$(uuid /dev/vda15) /boot/efi vfat umask=0077 0 1"
  grub '--target=i386-pc /dev/vda' '--target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram'
}

install_mbr() {
  mount /dev/vda5 /mnt
  mount /dev/vda1 /mnt/boot
  identify debian-mbr "UUID=$(uuid /dev/vda5) / ext4 errors=remount-ro 0 1
UUID=$(uuid /dev/vda1) /boot ext2 defaults 0 2"
  # As older installers left it; with it update-grub writes more: the root by device first, and hints for the search.
  mkdir -p /mnt/boot/grub
  echo '(hd0) /dev/vda' > /mnt/boot/grub/device.map
  grub '--target=i386-pc /dev/vda'
}

# No boot loader: what boots it has /vmlinuz and /initrd.img to go by.
install_bare() {
  mount /dev/vda /mnt
  identify debian-bare "UUID=$(uuid /dev/vda) / ext4 errors=remount-ro 0 1"
}

# The disks leave, and come back one by one as the first.
for kind in gpt mbr bare; do
  device=$(basename "$(readlink -f "/sys/block/$(drive $kind)/device")")
  eval "device_$kind=$device"
  echo "$device" > $virtio/unbind
done
for kind in gpt mbr bare; do
  eval "device=\$device_$kind"
  echo "$device" > $virtio/bind
  udevadm settle
  [ "$(drive $kind)" = vda ] || { echo "$kind is not vda" >&2; exit 1; }
  "install_$kind"
  umount -R /mnt
  echo "$device" > $virtio/unbind
done
