# The grader in a container, for machines without a GPU. With docker or podman:
#
#     docker build -t grader .
#     docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/work" grader list
#
# `grade doctor` in it says whether submissions can be confined there; the host's kernel decides that.
FROM python:3.13-slim

COPY . /grader
RUN pip install --no-cache-dir --constraint /grader/constraints.txt /grader

# For whatever user runs it: caches and progress have a place to go.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["grade"]
CMD ["--help"]
