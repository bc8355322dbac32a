# Two stages: the first compiles, the second holds the binary, what it links to, and the list of certificate authorities.
FROM rust:1.95-bookworm AS build
# libopus is built from its source.
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin confab

FROM debian:bookworm-slim
# Whom to trust when media are fetched by https.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --home-dir /var/lib/confab --create-home --shell /usr/sbin/nologin confab
COPY --from=build /src/target/dist/confab /usr/local/bin/confab
USER confab
WORKDIR /var/lib/confab
ENV CONFAB__DATA_DIR=/var/lib/confab
VOLUME /var/lib/confab
# SIP, HTTP, RTP. Real-time priority of the media threads wants --cap-add SYS_NICE --ulimit rtprio=99.
EXPOSE 5060/udp 5060/tcp 8000/tcp 16384-32767/udp
# The health check reads the environment: configure the image with CONFAB__SECTION__KEY. Who mounts a file and runs
# "serve --config FILE" gives the container "confab health --config FILE" as its health check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["confab", "health"]
ENTRYPOINT ["confab"]
CMD ["serve"]
