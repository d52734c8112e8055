{{/* What every pod has: no token of the cluster, no rights, no variables of other Services. */}}
{{- define "sales-forecasts.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
# Its pause container is process 1 and reaps orphans, as `init: true` does in docker-compose.yml.
shareProcessNamespace: true
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has. */}}
{{- define "sales-forecasts.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Mounts and volumes of every pod: /tmp, where Java unpacks libraries, and certificates. */}}
{{- define "sales-forecasts.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if or .Values.postgresql.authority.secret .Values.kafka.authority.secret }}
- name: authorities
  mountPath: /etc/sales/authorities
  readOnly: true
{{- end }}
{{- end }}

{{- define "sales-forecasts.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- $postgresql := .Values.postgresql.authority }}
{{- $kafka := .Values.kafka.authority }}
{{- if or $postgresql.secret $kafka.secret }}
- name: authorities
  projected:
    sources:
      {{- with $postgresql.secret }}
      - secret:
          name: {{ . }}
          items:
            - {key: {{ $postgresql.key }}, path: postgresql.pem}
      {{- end }}
      {{- with $kafka.secret }}
      - secret:
          name: {{ . }}
          items:
            - {key: {{ $kafka.key }}, path: kafka.pem}
      {{- end }}
{{- end }}
{{- end }}

{{/* The probes of a server: (dict "action" "tcpSocket: {port: http}"). A start on a busy machine takes
minutes; what has been well once is missed within a minute. The kubelet itself connects, so a probe
starts no process. */}}
{{- define "sales-forecasts.probes" -}}
startupProbe:
  {{ .action }}
  periodSeconds: 5
  timeoutSeconds: 10
  failureThreshold: 60
readinessProbe:
  {{ .action }}
  periodSeconds: 5
  timeoutSeconds: 10
livenessProbe:
  {{ .action }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{/* A claim of one node's: (dict "root" $ "component" "stream" "name" "checkpoints" "claim" values "keep" bool) */}}
{{- define "sales-forecasts.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sales-forecasts.labels" . | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .claim.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .claim.size }}
{{- end }}
