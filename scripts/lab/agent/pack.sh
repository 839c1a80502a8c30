#!/bin/sh
# Writes the given paths to the `out` drive as one tar archive, the Nth path under the name N/.
set -eu
rm -rf /run/get
n=0
for path; do
  [ -e "$path" ] || { echo "lab: --get: no $path in the lab" >&2; exit 1; }
  item=/run/get/$n/$(basename "$path")
  mkdir -p "/run/get/$n"
  if [ -d "$path" ]; then mkdir "$item"; else touch "$item"; fi
  mount --bind "$path" "$item"
  n=$((n + 1))
done
tar -cSf /run/drives/out -C /run/get .
sync
find /run/get -mindepth 2 -maxdepth 2 -exec umount {} \;
