# livejam with all its packages, in the versions of constraints.txt: what `make env` installs, in /opt/livejam.
#   docker build --tag livejam .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD:/work" livejam lightning fit --config quickstart
# Experiments, songs and runs stay in the folder that is mounted. livejam.def is the same for Apptainer.
FROM docker.io/library/debian:bookworm-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libportaudio2 make python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

COPY . /opt/livejam
WORKDIR /opt/livejam
RUN PIP_NO_CACHE_DIR=1 make env PYTHON=python3

ENV PATH=/opt/livejam/.venv/bin:$PATH
WORKDIR /work
CMD ["livejam", "doctor"]
