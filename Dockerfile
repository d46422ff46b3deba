FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY monitor monitor
RUN python -m venv /opt/monitor && /opt/monitor/bin/pip install --no-cache-dir .

FROM python:3.11-slim
LABEL org.opencontainers.image.title="website-monitor" \
      org.opencontainers.image.description="A website availability monitor for Prometheus"
# The numbers, not names: Kubernetes' runAsNonRoot wants to see that it is not 0
RUN useradd --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin monitor
COPY --from=build /opt/monitor /opt/monitor
COPY config/sites.yaml /config/sites.yaml
ENV PATH=/opt/monitor/bin:$PATH \
    MONITOR_CONFIG=/config/sites.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
EXPOSE 10115
HEALTHCHECK --interval=10s --timeout=5s --retries=3 CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:10115/-/healthy', timeout=4)"]
ENTRYPOINT ["monitor"]
CMD ["run"]
