{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sluice.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The seconds of a duration such as 1m30s, for what must be longer. */ -}}
{{- define "sluice.shutdownSeconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|h|m|s)" .Values.shutdownTimeout -1 -}}
{{- $n := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $seconds = addf $seconds (mulf $n (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit)) -}}
{{- end -}}
{{- ceil $seconds | int -}}
{{- end }}

{{- /* The names of Services and pod, which the gateway answers to, and those of settings.HTTP_HOSTS. */ -}}
{{- define "sluice.hosts" -}}
{{- $name := include "sluice.fullname" . -}}
{{- $hosts := list -}}
{{- range $host := list $name (printf "%s-headless" $name) (printf "%s-0.%s-headless" $name $name) -}}
{{- $namespaced := printf "%s.%s" $host $.Release.Namespace -}}
{{- $hosts = append $hosts $host -}}
{{- $hosts = append $hosts $namespaced -}}
{{- $hosts = append $hosts (printf "%s.svc" $namespaced) -}}
{{- $hosts = append $hosts (printf "%s.svc.%s" $namespaced $.Values.clusterDomain) -}}
{{- end -}}
{{- with .Values.settings }}{{ with .HTTP_HOSTS }}{{ $hosts = append $hosts . }}{{ end }}{{ end -}}
{{- join "," $hosts -}}
{{- end }}
