# The product as an image of one static binary. `docker build .` needs no Go on the machine;
# `make image` builds the program itself, for --target prebuilt.
FROM scratch AS config
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="A standalone Discord gateway" \
      org.opencontainers.image.source="https://github.com/sluice-gateway/sluice" \
      org.opencontainers.image.documentation="https://github.com/sluice-gateway/sluice/tree/main/docs" \
      org.opencontainers.image.licenses="MIT"
USER 65534:65534
ENTRYPOINT ["/gateway"]
# It asks the running process, by the socket in the state directory.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["/gateway", "health"]

FROM config AS prebuilt
ARG TARGETARCH
COPY bin/image/ca-certificates.crt /etc/ssl/certs/
COPY bin/image/${TARGETARCH}/gateway /gateway
# The sessions are in state below it: keep it over restarts.
COPY --chown=65534:65534 bin/image/data /data
VOLUME /data
WORKDIR /data
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.created="${CREATED}"

FROM --platform=${BUILDPLATFORM} golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG TARGETARCH
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X sluice/cmd/gateway/cli.version=$VERSION" -o /gateway ./cmd/gateway && mkdir /state

FROM config
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /gateway /gateway
COPY --from=build --chown=65534:65534 /state /data
VOLUME /data
WORKDIR /data
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.created="${CREATED}"
