# One file, six images: docker build --target api|reconciler|trainer|merger|sae|analyzer .
# The api and the reconciler come first and know nothing of torch; a builder that goes through the
# file from top to bottom never installs it for them.
ARG PYTHON_IMAGE=docker.io/library/python:3.11.15-slim-bookworm

# ---------------------------------------------------------------- what all of them run on
FROM ${PYTHON_IMAGE} AS runtime
# The id is a number, so that Kubernetes can see that it is not root; the name is for getpwuid, which
# torch asks. Volumes that are mounted here for the first time take over the owner.
RUN groupadd --gid 10001 lineament \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lineament \
    && install --directory --owner=10001 --group=10001 /data /data/tmp /cache/huggingface /cache/triton
ENV PATH=/opt/lineament/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LINEAMENT_DATA=/data \
    LINEAMENT_METRICS_PORT=9100 \
    HF_HOME=/cache/huggingface \
    TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/triton/inductor \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /app

# ---------------------------------------------------------------- packages of every process
FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# pip stays outside of the environment: an image has no use for it.
RUN python3 -m venv --without-pip /opt/lineament \
    && python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; open('all.txt', 'w').write('\n'.join(p['dependencies'] + p['optional-dependencies'].get('traces', []))); open('workers.txt', 'w').write('\n'.join(p['optional-dependencies']['workers']))" \
    && python3 -m pip --python /opt/lineament/bin/python install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt --requirement all.txt

FROM runtime AS server
COPY --from=packages /opt/lineament /opt/lineament
COPY shared ./shared

FROM server AS api
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-api" \
      org.opencontainers.image.description="Lineament: REST, pages and the lineament command" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY api ./api
RUN python -m compileall -q -j 0 /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["python", "-m", "api.server"]
CMD ["--host", "0.0.0.0", "--port", "8000"]

FROM server AS reconciler
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-reconciler" \
      org.opencontainers.image.description="Lineament: sees which stages are ready and calls workers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN python -m compileall -q -j 0 /app
USER 10001:10001
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/metrics', timeout=5)"]
ENTRYPOINT ["python", "-m", "shared.experiments.reconciler"]

# ---------------------------------------------------------------- workers, over one torch
FROM packages AS worker-packages
# For CUDA: --build-arg TORCH_OPTIONS= (the build that PyPI has for Linux brings its CUDA libraries).
ARG TORCH_OPTIONS="--index-url https://download.pytorch.org/whl/cpu"
# torch first and pinned, so that nothing else decides which build of it comes.
# hadolint ignore=SC2086
RUN python3 -m pip --python /opt/lineament/bin/python install --no-cache-dir --disable-pip-version-check \
        ${TORCH_OPTIONS} "$(grep '^torch==' constraints.txt)" \
    && python3 -m pip --python /opt/lineament/bin/python install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt --requirement workers.txt

FROM runtime AS worker
COPY --from=worker-packages /opt/lineament /opt/lineament
COPY shared ./shared
COPY services/__init__.py ./services/__init__.py
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/metrics', timeout=5)"]
# Each image adds the queue that it serves.
ENTRYPOINT ["python", "-m", "shared.worker.app"]

FROM worker AS trainer
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-trainer" \
      org.opencontainers.image.description="Lineament worker: corpora, tokenizers, language models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY services/trainer ./services/trainer
RUN python -m compileall -q -j 0 /app
USER 10001:10001
CMD ["--queues=trainer"]

FROM worker AS merger
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-merger" \
      org.opencontainers.image.description="Lineament worker: merged models and sweeps" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY services/merger ./services/merger
RUN python -m compileall -q -j 0 /app
USER 10001:10001
CMD ["--queues=merger"]

FROM worker AS sae
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-sae" \
      org.opencontainers.image.description="Lineament worker: dictionaries of features" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY services/sae ./services/sae
RUN python -m compileall -q -j 0 /app
USER 10001:10001
CMD ["--queues=sae"]

FROM worker AS analyzer
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lineament-analyzer" \
      org.opencontainers.image.description="Lineament worker: matches, controls, figures, the report" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY services/analyzer ./services/analyzer
RUN python -m compileall -q -j 0 /app
USER 10001:10001
CMD ["--queues=analyzer"]
