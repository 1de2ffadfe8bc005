# The service of docs/serve.md, with the weights of open_mb05 inside.
#   docker build --tag tddfa .
#   docker run --rm --publish 127.0.0.1:8000:8000 tddfa
# For NVIDIA's GPUs; CUDA and cuDNN come as packages of Python:
#   docker build --tag tddfa:cuda --build-arg DEVICE=cuda .
#   docker run --rm --gpus all --publish 127.0.0.1:8000:8000 tddfa:cuda
FROM python:3.11-slim-bookworm AS build
ARG DEVICE=cpu
# Debian removes the old versions of its packages
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements requirements
RUN python -m venv /opt/tddfa \
    && case "$DEVICE" in \
        cpu) set -- --requirement requirements/headless-cpu.txt ;; \
        cuda) set -- --requirement requirements/headless.txt "onnxruntime-gpu[cuda,cudnn]>=1.21" ;; \
        *) echo "DEVICE: expected cpu or cuda, got $DEVICE" >&2; exit 2 ;; \
    esac \
    && /opt/tddfa/bin/pip install --no-cache-dir "$@"
COPY . .
# by name: the extra of tddfa would bring the packages that the line above leaves out
RUN /opt/tddfa/bin/pip install --no-cache-dir --no-deps . \
    && /opt/tddfa/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["serve"], sep="\n")' > serve.txt \
    && /opt/tddfa/bin/pip install --no-cache-dir --requirement serve.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home tddfa
COPY --from=build /opt/tddfa /opt/tddfa
# only /tmp can be written, by caches of packages
ENV PATH=/opt/tddfa/bin:$PATH HOME=/tmp NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v1/health', timeout=4).close()"]
ENTRYPOINT ["tddfa", "serve", "--host", "0.0.0.0"]
