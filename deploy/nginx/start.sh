#!/bin/sh
# Fills in door.conf from variables and runs nginx with it, in the container `door`. What it needs:
#   DOOR_HOST                   name:port as browsers write it, like forecasts.example.com (port 443)
#   DOOR_CERTIFICATE, DOOR_KEY  files in PEM; the certificate with those that lead to its authority
#   DAGSTER_WEBSERVER_TOKEN, MLFLOW_TRACKING_TOKEN, and GRAFANA_ADMIN_PASSWORD where Grafana runs
set -eu

fail() { printf 'The door stays shut: %s\n' "$*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
# The filled-in file holds secrets.
umask 077
folder=${DOOR_FOLDER:-/tmp/door}
export DOOR_LISTEN="${DOOR_LISTEN:-8443}"
export DOOR_LOG="${DOOR_LOG:-/dev/stdout}"
export DOOR_SERVICE="${DOOR_SERVICE:-forecast-service:8080}"
export DOOR_DAGSTER="${DOOR_DAGSTER:-dagster-webserver:3000}"
export DOOR_MLFLOW="${DOOR_MLFLOW:-mlflow:5000}"
export DOOR_GRAFANA="${DOOR_GRAFANA:-grafana:3000}"
export DOOR_RESOLVER="${DOOR_RESOLVER:-$(
    awk '$1 == "nameserver" { print $2 ~ /:/ ? "[" $2 "]" : $2; exit }' /etc/resolv.conf
)}"
[ -n "$DOOR_RESOLVER" ] || fail "/etc/resolv.conf names no nameserver; set DOOR_RESOLVER."

# Nothing but plain signs gets into the file: a blank or a ; would be nginx's own.
plain() {
    eval "value=\${$1:-}"
    [ -n "$value" ] || fail "$1 is not set: $2"
    case $value in
        *[!A-Za-z0-9._:/-]*) fail "$1 may have letters, digits and . _ : / - only: $2" ;;
    esac
}
plain DOOR_HOST "set it to name:port as browsers write it, without :443, like forecasts.example.com."
plain DOOR_CERTIFICATE "set it to the file of the certificate, in PEM."
plain DOOR_KEY "set it to the file of the certificate's key, in PEM."
plain DAGSTER_WEBSERVER_TOKEN "it is what Dagster's webserver asks for."
plain MLFLOW_TRACKING_TOKEN "it is what MLflow asks for."
case $DOOR_HOST in
    */*) fail "DOOR_HOST=$DOOR_HOST is no name:port: leave out https:// and paths." ;;
esac
for file in "$DOOR_CERTIFICATE" "$DOOR_KEY"; do
    [ -r "$file" ] || fail "$file is missing, or user $(id -u) may not read it (docs/operations.md, One door)."
done

GRAFANA_LOGIN=
if [ -n "${GRAFANA_ADMIN_PASSWORD:-}" ]; then
    GRAFANA_LOGIN=$(printf 'admin:%s' "$GRAFANA_ADMIN_PASSWORD" | base64 | tr -d '\n')
fi
DOOR_TRANSPORT_SECURITY="max-age=31536000"
case ${DOOR_HOST%:*} in
    localhost | *.localhost | 127.*) DOOR_TRANSPORT_SECURITY= ;;
esac
export GRAFANA_LOGIN DOOR_TRANSPORT_SECURITY

mkdir -p "$folder"
for name in door.conf from_door.conf operators_only.conf; do
    # By the environment, since arguments are shown by ps; and no value is read as a pattern.
    awk '{
        rest = $0; line = ""
        while (match(rest, /@[A-Z_]+@/)) {
            line = line substr(rest, 1, RSTART - 1) ENVIRON[substr(rest, RSTART + 1, RLENGTH - 2)]
            rest = substr(rest, RSTART + RLENGTH)
        }
        print line rest
    }' "$here/$name" >"$folder/$name"
done
# nginx needs them no more.
unset DAGSTER_WEBSERVER_TOKEN MLFLOW_TRACKING_TOKEN GRAFANA_ADMIN_PASSWORD GRAFANA_LOGIN
exec nginx -e stderr -p "$folder" -c "$folder/door.conf"
