# One file, three images: `core` (swarmsyncd), `worker` (swarmsyncd worker), `consumer` (the command line).
#
#   docker build --target core -t swarmsync-core .
#
# BASE is any Debian or Ubuntu with Python 3.11 or later and its venv module; where no image registry is reached, make one
# of the distribution's packages (scripts/base-image.sh). PIP_ARGS goes to pip, as in `--no-index --find-links /src/wheels`.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_ARGS=""
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/swarmsync \
 && /opt/swarmsync/bin/pip install --quiet --no-cache-dir --disable-pip-version-check ${PIP_ARGS} . \
 && find /opt/swarmsync -name '__pycache__' -prune -exec rm -rf {} +

FROM ${BASE} AS runtime
COPY --from=build /opt/swarmsync /opt/swarmsync
ENV PATH=/opt/swarmsync/bin:$PATH PYTHONUNBUFFERED=1 LANG=C.UTF-8
RUN useradd --uid 10001 --user-group --create-home swarmsync \
 && install -d -o swarmsync -g swarmsync -m 0700 /var/lib/swarmsync /home/swarmsync/.config
WORKDIR /home/swarmsync

# The worker holds the Docker socket, which is as good as root on its machine; it says so by being root here, too.
FROM runtime AS worker
ENTRYPOINT ["swarmsyncd", "worker", "--data-dir", "/var/lib/swarmsync"]

FROM runtime AS consumer
USER swarmsync
ENTRYPOINT ["consumer"]

FROM runtime AS core
COPY conf/compose/make-secrets.sh /usr/local/bin/make-secrets
USER swarmsync
ENV SWARMSYNC_DATA_DIR=/var/lib/swarmsync SWARMSYNC_API_BIND=0.0.0.0
EXPOSE 8420
VOLUME /var/lib/swarmsync
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8420/readyz', timeout=2)"]
CMD ["swarmsyncd", "--no-worker"]
