# The service and its workers: docker build --build-arg DEVICE=cuda -t video-as-prompt .
FROM python:3.12-slim

# Volumes take owner and contents from the folders of the image.
RUN useradd --create-home --uid 1000 vap \
 && install --directory --owner vap --group vap /data /home/vap/.cache /home/vap/.cache/huggingface

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# cuda: PyPI's torch, which brings CUDA with it. cpu: a build without, a tenth of the size.
ARG DEVICE=cpu
RUN test "$DEVICE" = cpu -o "$DEVICE" = cuda \
 && if [ "$DEVICE" = cpu ]; then \
      export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu; \
    fi \
 && pip install --no-cache-dir --constraint constraints.txt ".[serve,postgresql,filter]"

USER vap
WORKDIR /home/vap
ENV VAP_SERVE_DATA=/data VAP_SERVE_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
CMD ["vap", "serve"]
