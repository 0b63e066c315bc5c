#!/bin/sh
# Makes a VM's kernel, initramfs and root file system, with a Docker engine and Node in it, from Debian packages.
# Needs no root: nothing is installed or mounted.
#   build-image.sh FOLDER NODE     FOLDER gets vmlinuz, initramfs and root.ext4
set -eu
folder=$1
node=$2
scripts=$(cd "$(dirname "$0")" && pwd)
tree=$folder/tree
say() { echo "vm image: $*" >&2; }

say 'downloading Debian packages (some 100 MB)'
packages=$("$scripts/list-packages.sh")
mkdir "$folder/packages"
cd "$folder/packages"
# A line is 'URI' FILE SIZE CHECKSUM, and FILE begins NAME_VERSION_, with %3a for a colon.
names=$(echo "$packages" | sed "s/^'[^']*' \([^_]*\)_\([^_]*\)_.*/\1=\2/; s/%3a/:/")
# shellcheck disable=SC2086 # one word a package
apt-get download -q -o APT::Sandbox::User=root $names >/dev/null

say 'unpacking them'
mkdir -p "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib" "$tree/usr/lib64"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$tree/$link"; done
for package in *.deb; do
  # What only people need is left out, and Docker's client, which runs outside.
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$tree" --keep-directory-symlink --no-same-owner \
    --exclude='./usr/share/*' --exclude=./usr/bin/docker --exclude=./usr/bin/ctr
done
busybox=$tree/bin/busybox
version=$(ls "$tree/lib/modules")
mv "$tree/boot/vmlinuz-$version" "$folder/vmlinuz"
rm -r "$tree/boot"

cd "$tree"
mkdir -p dev etc/docker mnt portferry proc root run sys tmp var/lib
ln -sfn ../run var/run
"$busybox" --list | while read -r applet; do
  [ -e "usr/bin/$applet" ] || [ -e "usr/sbin/$applet" ] || ln -s busybox "usr/bin/$applet"
done
for name in iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore; do
  ln -sf xtables-legacy-multi "usr/sbin/$name"
done
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
printf 'root:x:0:\ndocker:x:999:\n' >etc/group
printf '127.0.0.1 localhost vm\n::1 localhost\n' >etc/hosts
cp "$node" usr/bin/node
cp "$scripts/init.sh" sbin/init
chmod 755 sbin/init
# What this Node needs and no package has brought, if it is not nodejs.org's own.
ldd "$node" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
  [ -e "usr/lib/x86_64-linux-gnu/${library##*/}" ] || cp "$library" usr/lib/x86_64-linux-gnu/
done
/sbin/ldconfig -r "$tree"
"$busybox" depmod -b "$tree" "$version"

say 'making the root file system'
megabytes=$(($(du -sm "$tree" | cut -f 1) + 600))
/sbin/mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=0,root_owner=0:0 -m 0 -d "$tree" "$folder/root.ext4" "${megabytes}M" >/dev/null

say 'making the initramfs'
mkdir -p "$folder/early/bin" "$folder/early/modules" "$folder/early/dev" "$folder/early/root"
cp "$busybox" "$folder/early/bin/busybox"
cp "$scripts/early-init.sh" "$folder/early/init"
chmod 755 "$folder/early/init"
for module in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev \
  virtio/virtio_pci block/virtio_blk; do
  cp "$tree/lib/modules/$version/kernel/drivers/$module.ko" "$folder/early/modules/"
done
(cd "$folder/early" && find . | cpio --quiet -o -H newc -R 0:0) >"$folder/initramfs"

rm -r "$folder/early" "$folder/packages" "$tree"
