{{/* Labels by which a component's pods are found: (dict "root" $ "component" "stream") */}}
{{- define "sales-forecasts.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "sales-forecasts.labels" -}}
{{ include "sales-forecasts.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "sales-forecasts.metadata" -}}
{{- if gt (len .root.Release.Name) 45 }}
{{- fail (printf "the release's name %s has more than 45 characters, so Services would have more than 63: choose a shorter one" .root.Release.Name) }}
{{- end -}}
name: {{ .root.Release.Name }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "sales-forecasts.labels" . | nindent 2 }}
{{- end }}

{{/* Metadata of a hook job: with "events" and "weight" as well. It stays to be read until the next. */}}
{{- define "sales-forecasts.hook" -}}
{{ include "sales-forecasts.metadata" . }}
annotations:
  helm.sh/hook: {{ .events }}
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
