{{/* The pod's template: the same for one replica on files and for many on a database. */}}
{{- define "bankswitch.pod" -}}
{{- $values := .Values -}}
{{- $volume := "/var/lib/bankswitch" -}}
metadata:
  labels:
    {{- include "bankswitch.labels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- if include "bankswitch.ownSecret" . }}
    {{- /* A change of the Secret must reach the environment. */}}
    checksum/secret: {{ include (print .Template.BasePath "/secret.yaml") . | sha256sum }}
    {{- end }}
    kubectl.kubernetes.io/default-container: bankswitch
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "bankswitch.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add (div (add (int $values.shutdownMs) 999) 1000) (int $values.preStopSeconds) 10 }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels:
          {{- include "bankswitch.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  containers:
    - name: bankswitch
      image: {{ include "bankswitch.image" . | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve]
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      env:
        {{- include "bankswitch.environment" . | trim | nindent 8 }}
      ports:
        - name: http
          containerPort: 8080
        {{- if $values.admin.enabled }}
        - name: admin
          containerPort: {{ $values.admin.port }}
        {{- end }}
      {{- range $probe, $path := dict "startup" "/livez" "liveness" "/livez" "readiness" "/readyz" }}
      {{ $probe }}Probe:
        httpGet:
          path: {{ $path }}
          port: http
          scheme: {{ ternary "HTTPS" "HTTP" (ne $values.tls.existingSecret "") }}
        {{- toYaml (get $values.probes $probe) | nindent 8 }}
      {{- end }}
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ toString $values.preStopSeconds | quote }}]
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: {{ $volume }}
        - name: cache
          mountPath: /var/cache/bankswitch
        {{- if include "bankswitch.hasKeys" . }}
        - name: keys
          mountPath: /etc/bankswitch/keys
          readOnly: true
        {{- end }}
        {{- if $values.tls.existingSecret }}
        - name: tls
          mountPath: /etc/bankswitch/tls
          readOnly: true
        {{- end }}
        {{- range $folder := list "models" "domains" }}
        {{- if (get $values $folder).volume }}
        - name: {{ $folder }}
          mountPath: /srv/{{ $folder }}
          readOnly: true
        {{- end }}
        {{- end }}
  volumes:
    {{- if include "bankswitch.isShared" . }}
    - name: data
      emptyDir: {}
    {{- else if $values.store.files.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ $values.store.files.existingClaim }}
    {{- end }}
    - name: cache
      emptyDir:
        sizeLimit: {{ $values.cache.size }}
    {{- if include "bankswitch.hasKeys" . }}
    - name: keys
      secret:
        secretName: {{ include "bankswitch.secret" . }}
        items:
          - key: keys.json
            path: keys.json
    {{- end }}
    {{- with $values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- range $folder := list "models" "domains" }}
    {{- with (get $values $folder).volume }}
    - name: {{ $folder }}
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* What is not said here is as the image has it. */}}
{{- define "bankswitch.environment" -}}
{{- $values := .Values -}}
{{- $plain := dict "BANKSWITCH_CACHE_DIR" "/var/cache/bankswitch" "BANKSWITCH_SHUTDOWN_MS" $values.shutdownMs -}}
{{- if $values.trustedProxies }}{{ $_ := set $plain "BANKSWITCH_TRUSTED_PROXIES" (join "," $values.trustedProxies) }}{{ end -}}
{{- if include "bankswitch.hasKeys" . }}{{ $_ := set $plain "BANKSWITCH_KEYS_FILE" "/etc/bankswitch/keys/keys.json" }}{{ end -}}
{{- if $values.models.volume }}{{ $_ := set $plain "BANKSWITCH_MODELS_DIR" "/srv/models" }}{{ end -}}
{{- if $values.domains.volume }}{{ $_ := set $plain "BANKSWITCH_DOMAINS_DIR" "/srv/domains" }}{{ end -}}
{{- if $values.admin.enabled -}}
{{- $_ := set $plain "BANKSWITCH_ADMIN_PORT" $values.admin.port -}}
{{- $_ := set $plain "BANKSWITCH_ADMIN_HOST" "0.0.0.0" -}}
{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- $_ := set $plain "BANKSWITCH_TLS_CERTIFICATE_FILE" "/etc/bankswitch/tls/tls.crt" -}}
{{- $_ := set $plain "BANKSWITCH_TLS_KEY_FILE" "/etc/bankswitch/tls/tls.key" -}}
{{- end -}}
{{- range $name, $value := merge $plain $values.settings }}
- name: {{ $name }}
  value: {{ include "bankswitch.text" $value | quote }}
{{- end }}
{{- if include "bankswitch.isShared" . }}
- name: BANKSWITCH_STORE
  valueFrom:
    secretKeyRef:
      name: {{ include "bankswitch.secret" . }}
      key: store
{{- end }}
{{- if include "bankswitch.hasAdminKey" . }}
- name: BANKSWITCH_ADMIN_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "bankswitch.secret" . }}
      key: admin-key
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
