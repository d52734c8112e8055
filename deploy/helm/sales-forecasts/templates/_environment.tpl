{{/* A variable from the Secret, under its own name: (dict "root" $ "name" "METRICS_TOKEN") */}}
{{- define "sales-forecasts.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .root.Values.existingSecret }}
      key: {{ .name }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{/* A database's address, with the role's password from the Secret:
(dict "root" $ "name" "READER_DATABASE_URL" "role" "sales_reader" "database" "sales") */}}
{{- define "sales-forecasts.address" -}}
{{- $password := printf "%s_PASSWORD" (upper .role) -}}
{{ include "sales-forecasts.secret" (dict "root" .root "name" $password) }}
- name: {{ .name }}
  {{- $postgresql := .root.Values.postgresql }}
  {{- $parameters := $postgresql.parameters | empty | ternary "" (printf "?%s" $postgresql.parameters) }}
  value: {{ printf "postgresql://%s:$(%s)@%s/%s%s" .role $password $postgresql.address .database $parameters | quote }}
{{- end }}

{{/* Settings under their own names: (dict "root" $ "names" (list "FORECAST_HORIZON")) */}}
{{- define "sales-forecasts.settings" -}}
{{- range $index, $name := .names }}
{{- if $index }}
{{ end }}- name: {{ $name }}
  value: {{ index $.root.Values.settings $name | quote }}
{{- end }}
{{- end }}

{{- define "sales-forecasts.calendar" -}}
- name: SALES_CALENDAR_START
  value: {{ .Values.calendar.start | quote }}
- name: SALES_CALENDAR_END
  value: {{ .Values.calendar.end | quote }}
{{- end }}

{{- define "sales-forecasts.kafka" -}}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ .Values.kafka.bootstrapServers | quote }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ .Values.kafka.securityProtocol }}
- name: KAFKA_SASL_MECHANISM
  value: {{ .Values.kafka.saslMechanism }}
- name: KAFKA_SASL_USERNAME
  value: {{ .Values.kafka.username | quote }}
{{ include "sales-forecasts.secret" (dict "root" . "name" "KAFKA_SASL_PASSWORD") }}
- name: KAFKA_SSL_CA_FILE
  value: {{ .Values.kafka.authority.secret | empty | ternary "" "/etc/sales/authorities/kafka.pem" | quote }}
- name: SALES_TOPIC
  value: {{ .Values.topic.name | quote }}
{{- end }}

{{/* What the stream reads, and every process that may drain the topic. */}}
{{- define "sales-forecasts.stream" -}}
{{ include "sales-forecasts.calendar" . }}
{{ include "sales-forecasts.address" (dict "root" . "name" "STREAM_DATABASE_URL" "role" "sales_stream" "database" "sales") }}
{{ include "sales-forecasts.kafka" . }}
- name: SPARK_MASTER
  value: {{ .Values.stream.sparkMaster | quote }}
- name: SPARK_JARS_DIR
  value: /app/.jars/spark
{{ include "sales-forecasts.settings" (dict "root" . "names" (list
    "SPARK_DRIVER_MEMORY" "SPARK_DRIVER_JAVA_OPTIONS" "STREAM_MAX_OFFSETS_PER_TRIGGER"
    "STREAM_LOCK_TIMEOUT_SECONDS" "STREAM_IDLE_TIMEOUT_SECONDS")) }}
{{- end }}

{{/* What asset runs and the service compute with, and when both call forecasts stale. */}}
{{- define "sales-forecasts.computation" -}}
{{ include "sales-forecasts.settings" (dict "root" . "names" (list
    "FORECAST_DATE_GRAIN" "FORECAST_HORIZON" "FORECAST_ERROR_MEASURE" "FORECAST_MAX_AGE_DAYS"
    "FORECAST_MAX_OPEN_MINUTES" "FORECAST_STREAM_SILENCE_MINUTES")) }}
{{- end }}

{{- define "sales-forecasts.mlflow-client" -}}
- name: MLFLOW_TRACKING_URI
  value: http://{{ .Release.Name }}-mlflow:5000
{{ include "sales-forecasts.secret" (dict "root" . "name" "MLFLOW_TRACKING_TOKEN") }}
{{- end }}

{{- define "sales-forecasts.dagster" -}}
{{ include "sales-forecasts.stream" . }}
- name: SPARK_STREAM_CHECKPOINTS_PATH
  value: /tmp/checkpoints
{{ include "sales-forecasts.computation" . }}
{{ include "sales-forecasts.address" (dict "root" . "name" "FORECAST_DATABASE_URL" "role" "sales_assets" "database" "sales") }}
{{ include "sales-forecasts.address" (dict "root" . "name" "DAGSTER_POSTGRES_URL" "role" "dagster" "database" "dagster") }}
{{ include "sales-forecasts.mlflow-client" . }}
- name: DAGSTER_WEBSERVER_URL
  value: {{ .Values.dagster.webserver.url | quote }}
{{ include "sales-forecasts.settings" (dict "root" . "names" (list
    "FORECAST_RECIPE" "FORECAST_CHALLENGER" "FORECAST_RETRAIN_FACTOR" "FORECAST_RETRAIN_DAYS"
    "FORECAST_KEEP_RUNS_DAYS" "FORECAST_KEEP_SUPERSEDED_DAYS" "FORECAST_KEEP_ORIGINS_DAYS"
    "FORECAST_SPARK_FROM_CELLS" "FORECAST_MLFLOW_EXPERIMENT" "FORECAST_EVENTS_GRACE_HOURS"
    "FORECAST_MAX_QUARANTINED_SHARE" "FORECAST_UNUSUAL_FACTOR")) }}
{{ include "sales-forecasts.secret" (dict "root" . "name" "FORECAST_ALERT_WEBHOOK" "optional" true) }}
{{- end }}
