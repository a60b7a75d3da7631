# The backend: docker build -t tam-backend .
FROM python:3.11-slim

# The pair that `make` installs too. For another build of PyTorch (CPU only, another CUDA) give pip its index:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... -t tam-backend .
ARG TORCH=2.14.1
ARG TORCHVISION=0.29.1
ARG PIP_EXTRA_INDEX_URL=

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
RUN pip install "torch==${TORCH}" "torchvision==${TORCHVISION}"
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY pyproject.toml README.md LICENSE _wsgi.py ./
COPY tam_backend ./tam_backend
RUN pip install --no-deps .
# What several machines need (docs/scale.md): docker build --build-arg EXTRAS=ray,postgres,s3 -t tam-backend .
ARG EXTRAS=
RUN pip install "tam-backend[${EXTRAS}]"

# Registered videos, downloads and the secret that signs frame addresses live in /data: keep it in a volume. /shared is
# for what several containers have together.
RUN useradd --create-home --uid 1000 tam && install -d -o tam /data /shared /shared/media
USER tam
ENV TAM_DATA_DIR=/data
VOLUME /data

EXPOSE 9090
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/health', timeout=3)"

# The very server of `tam-backend serve`; it ends on SIGTERM, and stores what is tracked before.
CMD ["python", "-m", "tam_backend", "serve", "--host", "0.0.0.0", "--port", "9090"]
