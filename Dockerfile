# The Debian package in an image: scripts/setup && scripts/package deb && docker build -t zeroth .
#   docker run --rm -v "$PWD/runs:/runs" zeroth demo --out /runs/demo
FROM debian:bookworm-slim
COPY dist/zeroth_*_amd64.deb /tmp/
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/zeroth_*_amd64.deb python3 && rm -rf /tmp/zeroth_*.deb /var/lib/apt/lists/*
WORKDIR /runs
ENTRYPOINT ["zeroth"]
