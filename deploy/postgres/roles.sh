#!/bin/sh
# Makes the roles and databases when the data volume is new; one role a component.
set -eu

create() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set role="$1" --set password="$2" --set connections="$3" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password' CONNECTION LIMIT :connections;
SQL
}

database() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$1" --set owner="$2" <<'SQL'
CREATE DATABASE :"name" OWNER :"owner";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

create sales_owner "$SALES_OWNER_PASSWORD" 10
create sales_stream "$SALES_STREAM_PASSWORD" 40
create sales_assets "$SALES_ASSETS_PASSWORD" 60
create sales_reader "$SALES_READER_PASSWORD" 20
create dagster "$DAGSTER_PASSWORD" 130
create mlflow "$MLFLOW_PASSWORD" 30
database sales sales_owner
database dagster dagster
database mlflow mlflow
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
GRANT CONNECT, TEMPORARY ON DATABASE sales TO sales_stream, sales_assets;
GRANT CONNECT ON DATABASE sales TO sales_reader;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
