#!/usr/bin/env bash
# Builds today's Docker Engine from its sources into a folder, for the system tests: scripts/build-engine.sh FOLDER.
# It needs Go, gcc, pkg-config and libseccomp-dev, some 5 GB of disk, and ten minutes.
set -euo pipefail
if (($# != 1)); then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
mkdir -p "$1"
GOBIN=$(realpath "$1")
export GOBIN

# What they link to must not depend on the machine, but for runc, which needs libseccomp.
without_c() { CGO_ENABLED=0 go install "$@"; }

moby=github.com/moby/moby/v2/cmd
containerd=github.com/containerd/containerd/v2/cmd
drivers=no_btrfs,no_devmapper,no_zfs
without_c "$moby/dockerd@v2.0.0-beta.24"
without_c "$moby/docker-proxy@v2.0.0-beta.24"
without_c -tags "$drivers" "$containerd/containerd@v2.3.5"
without_c -tags "$drivers" "$containerd/containerd-shim-runc-v2@v2.3.5"
CGO_ENABLED=1 go install -tags seccomp github.com/opencontainers/runc@v1.3.0
echo "built: export PORTFERRY_TEST_ENGINE=$GOBIN"
