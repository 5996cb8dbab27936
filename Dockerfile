# The product as an image of one static binary.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X sluice/cmd/gateway/cli.version=$VERSION" -o /gateway ./cmd/gateway && mkdir /state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /gateway /gateway
# The sessions are in state below it: keep it over restarts.
COPY --from=build --chown=65534:65534 /state /data
VOLUME /data
WORKDIR /data
USER 65534:65534
ENTRYPOINT ["/gateway"]
