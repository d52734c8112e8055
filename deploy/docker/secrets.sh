#!/bin/sh
# Runs a command with secrets from files: for each variable X_FILE=path, the command gets X with the
# file's line, if X is a password, a token, a secret, a webhook or an address. The image starts every
# command by it, and it works outside as well: sh deploy/docker/secrets.sh python -m forecast_service serve
#
# Other variables that end in _FILE, like KAFKA_SSL_CA_FILE, name files that a program itself reads.
set -eu

fail() { printf '%s\n' "$*" >&2; exit 1; }

# Where Docker and Kubernetes mount secrets, a container's only user reads them.
is_mounted() {
    case $1 in
        /run/secrets/* | /var/run/secrets/*) ;;
        *) return 1 ;;
    esac
}

take() {
    name=${1%_FILE}
    eval "path=\${$1} value=\${$name:-}"
    [ -n "$path" ] || return 0
    [ -z "$value" ] || fail "$name and $1 are both set: leave one of them out."
    [ -f "$path" ] || fail "$1=$path is no file."
    [ -r "$path" ] || fail "$1=$path: user $(id -u) may not read it."
    if ! is_mounted "$path" && [ -n "$(find -L "$path" -prune -perm -004)" ]; then
        fail "$1=$path can be read by every user of the machine: chmod o-r it."
    fi
    value=$(cat "$path")
    [ -n "$value" ] || fail "$1=$path is empty: write the secret into it."
    case $value in
        *"
"*) fail "$1=$path has more than one line: write the secret alone into it." ;;
    esac
    export "$name=$value"
    unset "$1"
}

[ $# -gt 0 ] || fail "usage: $0 command [arguments]"
for variable in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*_FILE\)=.*/\1/p'); do
    case $variable in
        *PASSWORD_FILE | *TOKEN_FILE | *SECRET_FILE | *WEBHOOK_FILE | *_URL_FILE | *_URI_FILE)
            take "$variable"
            ;;
    esac
done
exec "$@"
