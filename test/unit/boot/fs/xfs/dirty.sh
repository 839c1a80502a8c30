#!/bin/sh
# Makes an image with a dirty log: dirty.sh IMAGE [OPTION OF mkfs.xfs]...
# Needs root and a kernel that mounts what is made: version 4 (-m crc=0) is gone from newer ones. The kept images are
# made by `dirty.sh dirty-5.img && gzip -9n dirty-5.img`, and with `-m crc=0` on Debian 12 for dirty-4.
set -e
image=$(realpath "$1")
shift
truncate -s 20M "$image"
mkfs.xfs --unsupported -q -f -L fixture "$@" "$image"
at=$(mktemp -d)
mount -t xfs -o loop "$image" "$at"
cd "$at"
data() { yes "$1 0123456789" | head -c "$2"; }

# What the disk has in its place: freezing writes everything there.
mkdir -p boot/loader/entries dir crowd
data old 30000 > boot/vmlinuz-1
echo 'set default=1' > boot/grub.cfg
for i in $(seq 60); do echo "$i" > "dir/a-file-with-some-name-$i"; done
fsfreeze -f . && fsfreeze -u .

# What only the log has.
data new 50000 > boot/vmlinuz-2
echo 'set default=2' > boot/new
mv boot/new boot/grub.cfg
ln -s vmlinuz-2 boot/vmlinuz
ln -s "$(printf './%.0s' $(seq 300))boot/vmlinuz-2" long-link
rm dir/a-file-with-some-name-[1-4]?
for i in $(seq 0 24); do data "$i" 512 | dd of=scattered bs=512 seek=$((i * 16)) conv=notrunc status=none; done
truncate -s 250000 scattered
fallocate -l 20000 unwritten
for i in $(seq 70); do mkdir "crowd/one-of-many-directories-$i"; done
sync -f .
data last 700 > boot/last
sync boot/last

cp --sparse=always "$image" "$image.dirty"
cd /
umount "$at"
rmdir "$at"
mv "$image.dirty" "$image"
