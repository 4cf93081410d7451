#!/usr/bin/env bash
# A real Docker engine, and images under the names that compose/ uses, on a Debian 12 machine that can pull no image.
#
#   .ci/docker.sh          install, start and build what is missing; a second run only looks and is done in a second
#   .ci/docker.sh stop     stop the engine that this script started; images stay
#
# Needs root and Debian's mirror. It pulls nothing: the images are stand-ins, made of Debian's packages, that have what
# compose/ relies on and nothing more. A machine with an engine and a registry does not need this script. To build what
# compose/ names behind a proxy with a CA of its own, set PIP_CERT to that CA's bundle; no image ever holds it.
set -euo pipefail

SUITE=trixie
ENGINE_PACKAGES=(docker.io docker-cli docker-compose docker-buildx)
DOCKERD_LOG=/var/log/chaoskit-dockerd.log
DOCKERD_PID=/run/chaoskit-dockerd.pid
POLICY=/usr/sbin/policy-rc.d
START_TIMEOUT_S=60

say() { printf '%(%H:%M:%S)T %s\n' -1 "$1"; }
die() { echo "docker.sh: $1" >&2; exit 3; }

engine_answers() { docker info >/dev/null 2>&1; }
tools_are_there() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }
has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# The mirror that this machine already uses, from sources of either format.
mirror() {
  local uri
  uri=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  [ -n "$uri" ] || uri=$(sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]\+\)\?\([^[:space:]]*\/debian\/\?\)[[:space:]].*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
  echo "${uri:-http://deb.debian.org/debian}"
}

# Bookworm's engine is too old and its Compose is the one in Python; only these packages come from the next suite.
add_suite() {
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $SUITE main" \
    > /etc/apt/sources.list.d/chaoskit-docker.list
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n\nPackage: %s\nPin: release n=%s\nPin-Priority: 900\n' \
    "$SUITE" "${ENGINE_PACKAGES[*]}" "$SUITE" > /etc/apt/preferences.d/chaoskit-docker
}

# The packages would start services while they are installed; a policy that was there before is left alone.
without_services() {
  local made=
  [ -e "$POLICY" ] || { printf '#!/bin/sh\nexit 101\n' > "$POLICY"; chmod +x "$POLICY"; made=yes; }
  local status=0
  "$@" || status=$?
  [ -z "$made" ] || rm -f "$POLICY"
  return "$status"
}

install_engine() {
  command -v dockerd >/dev/null && tools_are_there && return
  [ "$(id -u)" = 0 ] || die "installing the engine needs root; run it as root or install Docker with Compose v2 yourself"
  command -v apt-get >/dev/null || die "there is no apt-get; install Docker with Compose v2 yourself"
  say "installing the engine, Compose and buildx from Debian $SUITE"
  add_suite
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive without_services apt-get install -y -qq --no-install-recommends \
    "${ENGINE_PACKAGES[@]}" runc containerd iptables debootstrap ca-certificates >/dev/null
}

start_engine() {
  engine_answers && return
  say "starting dockerd, its log is $DOCKERD_LOG"
  # No engine answers, so what these files name is dead, or a zombie that nobody reaps and that looks alive to dockerd.
  rm -f "$DOCKERD_PID" /run/docker/containerd/containerd.pid /run/docker/containerd/*.sock*
  # A session of its own: Ctrl-C and the end of a CI step are for the caller, not for the engine. With no descriptor of
  # the caller's left open in it, nobody who reads this script's output waits for the engine to end.
  setsid dockerd --pidfile "$DOCKERD_PID" >"$DOCKERD_LOG" 2>&1 </dev/null &
  local deadline=$((SECONDS + START_TIMEOUT_S))
  until engine_answers; do
    [ "$SECONDS" -lt "$deadline" ] || { tail -n 5 "$DOCKERD_LOG" >&2; die "dockerd does not answer after $START_TIMEOUT_S s, see $DOCKERD_LOG"; }
    sleep 0.2
  done
}

stop_engine() {
  [ -s "$DOCKERD_PID" ] || { say "no engine of this script is running"; return; }
  local pid
  pid=$(cat "$DOCKERD_PID")
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  say "the engine has stopped"
}

# debian:trixie-slim, which the two others stand on.
make_base() {
  local name=debian:$SUITE-slim root
  has_image "$name" && return
  say "making $name"
  command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  root=$(mktemp -d)
  # shellcheck disable=SC2064  # The directory of now is meant.
  trap "rm -rf '$root'" EXIT
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$root" "$(mirror)" >/dev/null
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$name" >/dev/null
  rm -rf "$root"
  trap - EXIT
}

# build NAME < Dockerfile: nothing but Debian's packages goes in, so there is no context to send.
build() {
  has_image "$1" && return
  say "making $1"
  docker build --quiet --tag "$1" - >/dev/null
}

make_python() {
  build python:3.13-slim <<'DOCKERFILE'
FROM debian:trixie-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && ln -s python3 /usr/bin/python
ENV PYTHONUNBUFFERED=1
CMD ["python3"]
DOCKERFILE
}

# As the public image has it: guest from any address, an anonymous volume for the data, the server as process 1.
make_rabbitmq() {
  build rabbitmq:4-management <<'DOCKERFILE'
FROM debian:trixie-slim
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server \
 && rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d \
 && rabbitmq-plugins enable --offline rabbitmq_management \
 && mkdir -p /etc/rabbitmq/conf.d \
 && echo 'loopback_users.guest = false' > /etc/rabbitmq/conf.d/10-defaults.conf \
 && rm -f /var/lib/rabbitmq/.erlang.cookie \
 && chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq
ENV RABBITMQ_LOGS=- LANG=C.UTF-8
USER rabbitmq
VOLUME /var/lib/rabbitmq
EXPOSE 5672 15672
CMD ["rabbitmq-server"]
DOCKERFILE
}

if [ "${1:-start}" = stop ]; then
  stop_engine
  exit
fi
install_engine
start_engine
make_base
# Half of the time is the mirror's, so the two are made at once.
make_python & python_job=$!
make_rabbitmq
wait "$python_job"
say "engine $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short), images ready"
