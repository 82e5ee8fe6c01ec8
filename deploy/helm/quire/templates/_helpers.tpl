{{/* The name of everything, and the beginning of the names of the nodes. */}}
{{- define "quire.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What the pods are found by; it cannot be changed later. */}}
{{- define "quire.selector" -}}
app.kubernetes.io/name: quire
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "quire.labels" -}}
{{ include "quire.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "quire.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "quire.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The host name of a pod, for the other nodes. */}}
{{- define "quire.host" -}}
$(POD_NAME).{{ include "quire.name" . }}-nodes.$(POD_NAMESPACE).svc
{{- end -}}
