# The service and its workers: docker build -t video-as-prompt .
FROM python:3.12-slim

RUN useradd --create-home vap && mkdir /data && chown vap /data
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --constraint constraints.txt ".[serve,postgresql]"

USER vap
ENV VAP_SERVE_DATA=/data VAP_SERVE_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
CMD ["vap", "serve"]
