# docker build -t session-manager .
# docker run -p 4001:4001 -v session-manager:/data -e SESSION_MANAGER_ACCESS_TOKEN=… session-manager
#
# The container listens beyond itself, so it asks for a token: without SESSION_MANAGER_ACCESS_TOKEN it ends with one line
# that says so, unless SESSION_MANAGER_ALLOW_OPEN_ACCESS=true states that another layer guards it.
# .ci/docker_steps.py carries these steps out on machines without a Docker engine.

FROM python:3.11-slim AS builder
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY subgraph ./subgraph
RUN python3 -m venv /opt/session-manager \
    && /opt/session-manager/bin/pip install --quiet --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim
# By number: Kubernetes' runAsNonRoot cannot tell who a name is.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /opt/session-manager /opt/session-manager
ENV PATH=/opt/session-manager/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SESSION_MANAGER_HOST=0.0.0.0 \
    SESSION_MANAGER_PORT=4001 \
    SESSION_MANAGER_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 4001
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SESSION_MANAGER_PORT\"]}/readyz', timeout=2)"]
ENTRYPOINT ["session-manager"]
CMD ["serve"]
