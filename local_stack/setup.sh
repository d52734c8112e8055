#!/bin/sh
# Installs the environment in .venv from requirements.lock, a Java if there is none, and the jars.
# `make setup` runs it in the repository's root; it skips what is already done.
# An argument names an extra of pyproject.toml to add, such as a benchmark's peers.
set -eu

UV="uv==0.13.9"

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# What a shell exports for other projects must not lead the installation elsewhere: PIP_TARGET,
# UV_PYTHON, PYTHONPATH … What is about the way to the network stays.
forget_others() {
    for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case $name in
            PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_FIND_LINKS | PIP_TRUSTED_HOST | PIP_CERT | \
                PIP_CLIENT_CERT | PIP_PROXY | PIP_TIMEOUT | PIP_DEFAULT_TIMEOUT | PIP_RETRIES | \
                PIP_CACHE_DIR | PIP_CONFIG_FILE | PIP_NO_INDEX | PIP_KEYRING_PROVIDER) ;;
            UV_DEFAULT_INDEX | UV_INDEX | UV_INDEX_* | UV_EXTRA_INDEX_URL | UV_FIND_LINKS | \
                UV_INSECURE_HOST | UV_SYSTEM_CERTS | UV_NATIVE_TLS | UV_HTTP_TIMEOUT | \
                UV_CACHE_DIR | UV_KEYRING_PROVIDER | UV_OFFLINE | UV_CONCURRENT_DOWNLOADS) ;;
            PIP_* | UV_* | PYTHON?* | VIRTUAL_ENV | CONDA_PREFIX | __PYVENV_LAUNCHER__)
                unset "$name"
                ;;
        esac
    done
}

# They separate paths: Java's class path and Kafka's folders, which lie below this one.
case $PWD in
    *:* | *,*) fail "The folder $PWD has a colon or a comma in its name, which Java and Kafka" \
        "take for the end of a path: move the project to another folder." ;;
esac

forget_others
# Two at once would overwrite each other: the second waits, then finds everything done. `flock` is
# the parent of the shell that it starts.
if [ "${SETUP_HOLDS_LOCK:-}" != "$PPID" ] && command -v flock >/dev/null 2>&1; then
    export SETUP_HOLDS_LOCK=$$
    flock --nonblock --close . true || say "waiting for another \`make setup\` of this folder"
    exec flock --close . sh "$0" "$@"
fi

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 ||
            fail "PYTHON=$PYTHON is not a program: name a Python 3.11, 3.12 or 3.13."
        supported "$PYTHON" || refuse "$PYTHON"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && supported "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    command -v python3 >/dev/null 2>&1 ||
        fail "There is no python3: install Python 3.11, 3.12 or 3.13."
    refuse python3
}

refuse() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        version="not runnable"
    fail "$1 is $version, but Python 3.11, 3.12 or 3.13 is needed:" \
        "install one, or name it with \`make setup PYTHON=/path/to/python3.12\`."
}

# Behind a proxy that ends TLS, the machine's own certificates are the ones to trust. pip older than
# 24.2 and uv use bundles of their own by default.
trust_the_machine() {
    for bundle in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -n "$bundle" ] && [ -f "$bundle" ]; then
            export SSL_CERT_FILE="${SSL_CERT_FILE:-$bundle}" PIP_CERT="${PIP_CERT:-$bundle}"
            break
        fi
    done
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
}

# uv does not read pip's settings: hand over pip's index, if one is set.
hand_over_index() {
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
        index=${PIP_INDEX_URL:-$index}
        if [ -n "$index" ]; then
            export UV_DEFAULT_INDEX="$index"
        fi
    fi
}

install_environment() {
    python=$(find_python)
    if ! { [ -x .venv/bin/python ] && supported .venv/bin/python &&
        .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
        say "making the environment in .venv with $("$python" --version)"
        "$python" -m venv --clear .venv ||
            fail "$python cannot make a virtual environment: on Debian, install python3-venv."
    fi
    trust_the_machine
    hand_over_index
    say "installing the packages of requirements.lock"
    if .venv/bin/python -m pip install --quiet --disable-pip-version-check "$UV" &&
        .venv/bin/python -m uv pip install --python .venv/bin/python --quiet \
            --require-hashes -r requirements.lock; then
        :
    else
        say "uv could not do it; trying pip, which takes a few minutes"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --require-hashes -r requirements.lock ||
            fail "The packages could not be installed (above is why):" \
                "check the network and the disk space (1.5 GB), then run \`make setup\` again."
    fi
    cp requirements.lock .venv/installed.lock
}

if ! cmp -s requirements.lock .venv/installed.lock || ! .venv/bin/python -c '' 2>/dev/null; then
    install_environment
fi
# The project's own packages, for commands that are started by their path in .venv/bin and for
# the processes that those start.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$site/forecast_assets.pth"
trust_the_machine
if [ -n "${1:-}" ]; then
    hand_over_index
    exec .venv/bin/python -m uv pip install --python .venv/bin/python --quiet \
        --constraints requirements.lock -r pyproject.toml --extra "$1"
fi
exec .venv/bin/python -m local_stack prepare
