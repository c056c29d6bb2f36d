# syntax=docker/dockerfile:1
# The program, and nothing beside it: no shell, no package manager, not root. What it writes are imports of more than 256 kB, to /tmp, and SQLite's file.
#   docker build -t larder .
#   docker run --read-only --tmpfs /tmp --env-file production.env -p 8000:8000 larder
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Cargo features of larder-server beside its own: --build-arg FEATURES=otel
ARG FEATURES=""
COPY . .
# What was downloaded and compiled before is kept between builds, outside of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p larder-server --bin larder --features "$FEATURES" && cp target/dist/larder /larder && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /larder /usr/local/bin/larder
# SQLite's file, larder.toml and .env are looked for in the working directory. With PostgreSQL it stays empty.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /data
USER 65532:65532
# PORT alone means every address. A platform sets another; LISTEN, where somebody sets it, is stronger than both.
ENV ENV=production PORT=8000
EXPOSE 8000
# It asks /health/live of the address that PORT or LISTEN says, which answers however busy the server is. There is no shell and no curl in here.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["larder", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["larder"]
CMD ["serve"]
