#!/bin/sh
# Finishes the test disks with the boot loaders' own tools: grub-install and update-grub, bootctl and kernel-install,
# extlinux and u-boot-update. Runs as root in the lab host, which has each disk that is named as the drive of that name,
# filled by fill-disks.sh.
#   install-loaders.sh NAME...    without `debian-`
#
# Each disk is alone while it is worked on, and so is /dev/vda, as in a real installation. Where a disk has a second kernel,
# that is an older version that would not boot; what bootctl says of the choice is in /root/bootctl.
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

mount_systems() { for system in dev proc sys run; do mount --rbind "/$system" "/mnt/$system"; done; }
umount_systems() { for system in dev proc sys run; do umount -l "/mnt/$system"; done; }

# TARGET...: options of grub-install
grub() {
  mount_systems
  # grub-probe runs udevadm some 16 times, each a third of a second here, for what it otherwise asks the kernel.
  mount --bind /dev/null /mnt/usr/bin/udevadm
  for target; do
    # shellcheck disable=SC2086 # several words
    chroot /mnt grub-install $target
  done
  chroot /mnt update-grub
  umount /mnt/usr/bin/udevadm
  umount_systems
}

old_kernel=6.0.0-0-cloud-amd64
version() { basename /mnt/boot/vmlinuz-*-cloud-amd64 | sed s/^vmlinuz-//; }

# ESP ROOT NAME: a new ESP in place, with systemd-boot on it
systemd_boot() {
  mkfs.vfat -F 32 "$1"
  mount "$2" /mnt
  mkdir -p /mnt/boot/efi
  mount "$1" /mnt/boot/efi
  identify "$3" "UUID=$(uuid "$2") / ext4 errors=remount-ro 0 1
UUID=$(uuid "$1") /boot/efi vfat umask=0077 0 1"
  mount_systems
  chroot /mnt systemd-machine-id-setup
  chroot /mnt bootctl --no-variables install
}
# After the kernels are there.
ask_bootctl() {
  chroot /mnt bootctl list --no-pager > /mnt/root/bootctl
  cat /mnt/root/bootctl
  umount_systems
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

# Boot Loader Specification type 1 on the ESP.
install_sdboot() {
  systemd_boot /dev/vda1 /dev/vda2 debian-sdboot
  version=$(version)
  echo "root=UUID=$(uuid /dev/vda2) ro quiet watchdog_thresh=60" > /mnt/etc/kernel/cmdline
  chroot /mnt kernel-install add "$version" "/boot/vmlinuz-$version" "/boot/initrd.img-$version"
  chroot /mnt kernel-install add "$old_kernel" /usr/lib/os-release "/boot/initrd.img-$version"
  ask_bootctl
}

# Type 2.
install_uki() {
  e2label /dev/vda2 debian-uki
  systemd_boot /dev/vda1 /dev/vda2 debian-uki
  mkdir -p /mnt/boot/efi/EFI/Linux
  # Their names say the opposite of their versions.
  mv /mnt/boot/new.efi /mnt/boot/efi/EFI/Linux/debian-1.efi
  mv /mnt/boot/old.efi /mnt/boot/efi/EFI/Linux/debian-2.efi
  ask_bootctl
}

install_extlinux() {
  mount /dev/vda1 /mnt
  identify debian-extlinux "UUID=$(uuid /dev/vda1) / ext4 errors=remount-ro 0 1"
  cp /mnt/usr/lib/os-release "/mnt/boot/vmlinuz-$old_kernel"
  echo 'U_BOOT_PARAMETERS="ro quiet watchdog_thresh=60"' > /mnt/etc/default/u-boot
  mount_systems
  chroot /mnt u-boot-update
  chroot /mnt extlinux --install /boot/extlinux
  umount_systems
  dd if=/mnt/usr/lib/EXTLINUX/mbr.bin of=/dev/vda conv=notrunc status=none
}

install_xfs() {
  mount /dev/vda3 /mnt
  mount_systems
  chroot /mnt mkfs.xfs -q -L boot /dev/vda2
  umount_systems
  mv /mnt/boot /mnt/boot.ext4
  mkdir /mnt/boot
  mount /dev/vda2 /mnt/boot
  mv /mnt/boot.ext4/* /mnt/boot/
  rmdir /mnt/boot.ext4
  cp /mnt/usr/lib/os-release "/mnt/boot/vmlinuz-$old_kernel"
  identify debian-xfs "UUID=$(uuid /dev/vda3) / ext4 errors=remount-ro 0 1
UUID=$(uuid /dev/vda2) /boot xfs defaults 0 0"
  grub '--target=i386-pc /dev/vda'
}

# No boot loader: what boots it has /vmlinuz and /initrd.img to go by.
install_bare() {
  mount /dev/vda /mnt
  identify debian-bare "UUID=$(uuid /dev/vda) / ext4 errors=remount-ro 0 1"
}

# The disks leave, and come back one by one as the first.
for kind; do
  device=$(basename "$(readlink -f "/sys/block/$(drive $kind)/device")")
  eval "device_$kind=$device"
  echo "$device" > $virtio/unbind
done
for kind; do
  eval "device=\$device_$kind"
  echo "$device" > $virtio/bind
  udevadm settle
  [ "$(drive $kind)" = vda ] || { echo "$kind is not vda" >&2; exit 1; }
  "install_$kind"
  umount -R /mnt
  echo "$device" > $virtio/unbind
done
