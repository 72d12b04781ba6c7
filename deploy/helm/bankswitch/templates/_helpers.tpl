{{- define "bankswitch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bankswitch.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bankswitch.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bankswitch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "bankswitch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bankswitch.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bankswitch.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "bankswitch.secret" -}}
{{- default (include "bankswitch.fullname" .) .Values.secret.existing -}}
{{- end -}}

{{- define "bankswitch.isShared" -}}
{{- if eq .Values.store.kind "postgres" }}true{{ end -}}
{{- end -}}

{{- define "bankswitch.hasKeys" -}}
{{- if or .Values.secret.keys .Values.secret.hasKeys }}true{{ end -}}
{{- end -}}

{{- define "bankswitch.hasAdminKey" -}}
{{- if or .Values.secret.adminKey .Values.secret.existing }}true{{ end -}}
{{- end -}}

{{/* Whether there is anything to make a Secret of. */}}
{{- define "bankswitch.ownSecret" -}}
{{- $secret := .Values.secret -}}
{{- if and (not $secret.existing) (or $secret.adminKey $secret.keys (include "bankswitch.isShared" .)) }}true{{ end -}}
{{- end -}}

{{/* The Service, and its port's name, that serves metrics. */}}
{{- define "bankswitch.metricsService" -}}
{{- include "bankswitch.fullname" . }}{{ if .Values.admin.enabled }}-admin{{ end -}}
{{- end -}}
{{- define "bankswitch.metricsPort" -}}
{{- ternary "admin" "http" .Values.admin.enabled -}}
{{- end -}}

{{/* Numbers of values are floating-point, and large ones would be written with an exponent. */}}
{{- define "bankswitch.text" -}}
{{- if not (kindIs "float64" .) }}{{ toString . }}
{{- else if eq (floor .) . }}{{ printf "%.0f" . }}
{{- else }}{{ toString . }}
{{- end -}}
{{- end -}}
