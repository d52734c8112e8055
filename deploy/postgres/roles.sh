#!/bin/sh
# Creates what roles.txt lists, once, when the data volume is new. A role's password comes from the
# variable named after the role: SALES_OWNER_PASSWORD for sales_owner.
set -eu

run() {
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres "$@"
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
            ;;
        grant)
            run --set name="$name" --set role="$value" --set rights="$rights" <<'SQL'
GRANT :rights ON DATABASE :"name" TO :"role";
SQL
            ;;
        *)
            echo "roles.txt: '$kind' is unknown; role, database or grant expected" >&2
            exit 1
            ;;
    esac
done <"${ROLES_FILE:-/docker-entrypoint-initdb.d/roles.txt}"
run <<'SQL'
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
