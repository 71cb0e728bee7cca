# The supervisor, and the demo router beside it; compose/docker-compose.yml runs both from this one image.
#
#   docker build -t benchai-supervisor .
#   docker run --read-only --tmpfs /tmp --tmpfs /run/benchai-supervisor:uid=10001,gid=10001 \
#     --cap-drop ALL --security-opt no-new-privileges --network host --pid host --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v /var/run/docker.sock:/var/run/docker.sock -v supervisor-state:/var/lib/benchai-supervisor \
#     -v ./settings.toml:/etc/benchai-supervisor/settings.toml:ro benchai-supervisor
#
# SIGHUP has it read its settings anew, SIGTERM ends it within seconds, or once a restart under way is done.
# What each of these mounts gives away, and how to give away less: docs/security.md.
#
# The base may be pinned by digest or come from a mirror; whatever it is, it needs Python 3.11 or later with venv.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Two environments: pip and the build tools stay behind in the first, only the second travels on.
RUN python -m venv /build && python -m venv --without-pip /opt/benchai
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && /build/bin/pip --python /opt/benchai/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE settings.toml ./
COPY packaging packaging
COPY supervisor supervisor
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
    && /build/bin/pip --python /opt/benchai/bin/python install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="benchai-supervisor" \
      org.opencontainers.image.description="Keeps self-hosted model servers truthful and alive" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/benchai/bin:$PATH
# A name, so that `ps` and `ls` show one; without a shell, a password or a home. Whatever could install more goes. Named
# volumes take over their owner from these directories.
RUN echo 'benchai:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd && echo 'benchai:x:10001:' >>/etc/group \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* \
    && install -d -o 10001 -g 10001 /var/lib/benchai-supervisor /run/benchai-supervisor
COPY --from=build /opt/benchai /opt/benchai
COPY examples /opt/benchai/examples
# Not root. To use the engine's socket it needs that socket's group: `--group-add "$(stat -c %g /var/run/docker.sock)"`.
USER 10001:10001
# /livez is 200 only while decisions are being made. Asked without urllib, which would obey http_proxy even here. The
# port is the default of http.port: whoever sets another one replaces this check too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8090, timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
# In this form it is process 1 itself, so `docker stop` reaches it and not a shell.
CMD ["benchai-supervisord"]
