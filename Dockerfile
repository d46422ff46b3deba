# The base of both stages; any image with Python 3.11 or later on Debian does
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
WORKDIR /src
# What changes seldom comes first: dependencies are installed anew only when their lock changes
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/monitor \
    && pip --python /opt/monitor/bin/python install --no-cache-dir --no-compile \
        --no-deps --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY monitor monitor
RUN pip --python /opt/monitor/bin/python install --no-cache-dir --no-compile \
        --no-deps --no-build-isolation .
# "yes" leaves in what checks grpc:// and grpcs:// sites, which is 18 MB
ARG GRPC=no
COPY container/slim.py ./
# Symbols that no linker needs are 10 MB, columns of tracebacks in byte code 5 MB
RUN find /opt/monitor -name '*.so*' -exec strip --strip-unneeded {} + \
    && PYTHONNODEBUGRANGES=1 PYTHONPYCACHEPREFIX=/opt/monitor/bytecode \
        /opt/monitor/bin/python -P slim.py \
        setuptools $([ "$GRPC" = yes ] || echo grpcio)
RUN mkdir --mode=0700 /empty

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="website-monitor" \
      org.opencontainers.image.description="A website availability monitor for Prometheus" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /opt/monitor /opt/monitor
COPY config/sites.yaml /config/sites.yaml
# A new volume takes over the owner of the folder that it covers
COPY --from=build --chown=65532:65532 /empty /data
ENV PATH=/opt/monitor/bin:$PATH \
    MONITOR_CONFIG=/config \
    MONITOR_DATA=/data \
    PYTHONPYCACHEPREFIX=/opt/monitor/bytecode \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The numbers, not names: Kubernetes' runAsNonRoot wants to see that it is not 0
USER 65532:65532
VOLUME /data
EXPOSE 10115
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["monitor", "healthcheck"]
ENTRYPOINT ["monitor"]
CMD ["run"]
