#!/bin/sh
# Prints the packages of packages.txt, one a line, as apt-get would download them: name, version, checksum.
# Whatever goes into the image is known by these lines before anything is downloaded.
set -eu
names=$(sed '/^#/d' "$(dirname "$0")/packages.txt")
# The kernel's package only names the one of the present release.
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
[ -n "$kernel" ] || {
  echo "apt has no linux-image-cloud-amd64: the VM is made of Debian's packages, after apt-get update" >&2
  exit 1
}
# shellcheck disable=SC2086 # one word a package
apt-get download --print-uris $(echo "$names" | grep -v '^linux-image-') "$kernel" | sort
