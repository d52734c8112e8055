#!/bin/sh
# Creates what roles.txt lists, once, when the data volume is new. A role's password comes from the
# variable named after the role: SALES_OWNER_PASSWORD for sales_owner.
set -eu

# Not the folder whose files the image runs by itself: it would run these, too, and too early.
SCRIPTS=${SCRIPTS_FOLDER:-/usr/local/share/roles}

run() {
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres "$@"
}

# Let a role hold a database's advisory locks.
may_lock() {
    run --dbname "$1" --set role="$2" <<'SQL'
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, :'role') FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname LIKE 'pg\_%advisory%lock%' \gexec
SQL
}

while read -r kind name value rights; do
    case "$kind" in
        "" | "#"*) ;;
        role)
            variable=$(printf '%s_PASSWORD' "$name" | tr '[:lower:]' '[:upper:]')
            # psql reads the password from its environment: a command line is visible to others.
            run --set role="$name" --set variable="$variable" --set connections="$value" <<'SQL'
\getenv password :variable
CREATE ROLE :"role" LOGIN PASSWORD :'password' CONNECTION LIMIT :connections;
SQL
            ;;
        database)
            run --set name="$name" --set owner="$value" <<'SQL'
CREATE DATABASE :"name" OWNER :"owner";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
            run --dbname "$name" --file "${CLOSE_FILE:-/docker-entrypoint-initdb.d/close.sql}"
            may_lock "$name" "$value"
            ;;
        locks)
            may_lock "$name" "$value"
            ;;
        grant)
            run --set name="$name" --set role="$value" --set rights="$rights" <<'SQL'
GRANT :rights ON DATABASE :"name" TO :"role";
SQL
            ;;
        script)
            run --dbname "$name" --set role="$value" --set file="$SCRIPTS/$rights" <<'SQL'
SET ROLE :"role";
\i :file
SQL
            ;;
        *)
            echo "roles.txt: '$kind' is unknown;" \
                "role, database, grant, locks or script expected" >&2
            exit 1
            ;;
    esac
done <"${ROLES_FILE:-/docker-entrypoint-initdb.d/roles.txt}"
run <<'SQL'
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
