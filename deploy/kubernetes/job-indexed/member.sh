#!/bin/sh
# One pod of the Indexed Job: an agent, and in pod 0 the coordinator and the client as well. Arguments: of the client.
set -eu
head="$GANG-0.$GANG:7733"
tls="--tls-cert=/etc/gridquant/tls/tls.crt --tls-key=/etc/gridquant/tls/tls.key --tls-ca=/etc/gridquant/tls/ca.crt"

# shellcheck disable=SC2086  # $tls is three words
agent() {
  exec gridquant node --name="$(hostname)" --coordinator="$head" --workdir=/var/lib/gridquant/node \
    --listen=0.0.0.0:7734 --advertise="$(hostname).$GANG:7734" $tls
}

[ "$JOB_COMPLETION_INDEX" = 0 ] || agent

# Its state may go with the pod: what is finished is found again by its content, and the rest goes on.
# shellcheck disable=SC2086
gridquant coordinator --workdir=/var/lib/gridquant/coordinator --store=/gridquant --listen=0.0.0.0:7733 $tls &
coordinator=$!
agent &
node=$!
# shellcheck disable=SC2086
gridquant submit /etc/gridquant/pipeline/pipeline.yaml "$@" --watch --coordinator="$head" $tls &
submit=$!
trap 'kill -TERM $submit $node $coordinator 2>/dev/null || true' TERM INT
status=0
wait "$submit" || status=$?
kill -TERM "$node" 2>/dev/null || true
wait "$node" || true
kill -TERM "$coordinator" 2>/dev/null || true
wait "$coordinator" || true
exit "$status"
