# The server on a CPU: docker build -t anitalker . && docker run -p 8080:8080 -e ANITALKER_TOKEN=... anitalker
# With an NVIDIA card: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130, then docker run --gpus all ... serve
# --host 0.0.0.0 --device cuda; the wheels bring CUDA, the host its driver (compose.yaml: --profile cuda).
# Live sessions are UDP from any port: run them with --network host, or give a TURN server (docs/live.md).
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# shared libraries of opencv and soundfile; a font for subtitles
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libsndfile1 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision torchaudio \
    && pip install --no-cache-dir "$(ls /wheels/anitalker-*.whl)[serve]" && rm -r /wheels
RUN useradd --create-home --uid 1000 face
USER face
ENV ANITALKER_CONFIG=/tmp/anitalker PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["anitalker"]
CMD ["serve", "--host", "0.0.0.0"]
