#!/bin/sh
# Makes the roles and databases when the data volume is new; one role a component.
set -eu

create() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set role="$1" --set password="$2" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SQL
}

database() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$1" --set owner="$2" <<'SQL'
CREATE DATABASE :"name" OWNER :"owner";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

create sales_owner "$SALES_OWNER_PASSWORD"
create sales_stream "$SALES_STREAM_PASSWORD"
create sales_assets "$SALES_ASSETS_PASSWORD"
create sales_reader "$SALES_READER_PASSWORD"
create dagster "$DAGSTER_PASSWORD"
create mlflow "$MLFLOW_PASSWORD"
database sales sales_owner
database dagster dagster
database mlflow mlflow
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
GRANT CONNECT, TEMPORARY ON DATABASE sales TO sales_stream, sales_assets;
GRANT CONNECT ON DATABASE sales TO sales_reader;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
