#!/bin/sh
# Writes the Secret that the chart and roles.yaml read, with passwords that nobody knows:
#   sh deploy/helm/examples/secret.sh sales-forecasts | kubectl --namespace NAMESPACE create --filename -
# `create` leaves a Secret that exists as it is.
set -eu

name=${1:?Give the name of the Secret, which is existingSecret in the values}

secret() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
}

cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: $name
type: Opaque
stringData:
END
for key in SALES_OWNER_PASSWORD SALES_STREAM_PASSWORD SALES_ASSETS_PASSWORD SALES_READER_PASSWORD \
    SALES_PLANNER_PASSWORD DAGSTER_PASSWORD DAGSTER_READER_PASSWORD MLFLOW_PASSWORD \
    KAFKA_SASL_PASSWORD DAGSTER_WEBSERVER_TOKEN MLFLOW_TRACKING_TOKEN METRICS_TOKEN; do
    printf '  %s: "%s"\n' "$key" "$(secret)"
done
