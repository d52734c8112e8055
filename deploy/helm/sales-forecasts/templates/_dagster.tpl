{{/* What the pods of Dagster have beyond the others: (dict "root" $ "component" "dagster-daemon") */}}
{{- define "sales-forecasts.dagster-labels" -}}
{{ include "sales-forecasts.labels" . }}
sales-forecasts/logs-of: {{ .root.Release.Name }}
{{- end }}

{{/* The claim of the logs belongs to one node, so its users go to one. The first pod may go anywhere:
it matches its own rule. */}}
{{- define "sales-forecasts.dagster-pod" -}}
{{ include "sales-forecasts.pod" . }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            sales-forecasts/logs-of: {{ .Release.Name }}
# The claim covers the image's folder, and what Dagster reads its instance from with it.
initContainers:
  - name: home
    {{- include "sales-forecasts.container" . | nindent 4 }}
    command: [ln, -sfn, /app/dagster.yaml, /var/lib/dagster/dagster.yaml]
    resources:
      requests: {cpu: 10m, memory: 16Mi}
      limits: {memory: 64Mi}
    volumeMounts:
      - name: dagster
        mountPath: /var/lib/dagster
volumes:
  {{- include "sales-forecasts.volumes" . | nindent 2 }}
  - name: dagster
    persistentVolumeClaim:
      claimName: {{ .Release.Name }}-dagster
  - name: workspace
    configMap:
      name: {{ .Release.Name }}-workspace
{{- end }}

{{- define "sales-forecasts.dagster-mounts" -}}
{{ include "sales-forecasts.mounts" . }}
- name: dagster
  mountPath: /var/lib/dagster
- name: workspace
  mountPath: /etc/sales/workspace
  readOnly: true
{{- end }}
