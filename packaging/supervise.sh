#!/bin/sh
# supervise.sh start COMMAND [ARGUMENT...] | stop | status
# Keeps edgek running where there is no service manager: restarts it two seconds after it ends, until told to stop. When that happens with a log above 10 MB, it starts anew.
set -u
PID=/run/edgek-supervisor.pid
LOG=/var/log/edgek.log
LOG_MOST=10485760  # bytes

running() { [ -f $PID ] && kill -0 "$(cat $PID)" 2>/dev/null; }

supervise() {
    stopping='' child=''
    trap 'stopping=1; [ -z "$child" ] || kill "$child" 2>/dev/null' TERM INT
    while [ -z "$stopping" ]; do
        [ "$(stat -c %s $LOG 2>/dev/null || echo 0)" -lt $LOG_MOST ] || mv $LOG $LOG.1
        "$@" >>$LOG 2>&1 &
        child=$!
        wait $child
        code=$?
        [ -n "$stopping" ] || { echo "[supervise] ended with code $code, started again in 2 s" >>$LOG; sleep 2; }
    done
    wait $child
    rm -f $PID
}

case ${1:-} in
start)
    shift
    running && exit 0
    # A session of its own: a closing terminal does not reach it. And at a place that nobody wants to unmount.
    cd / || exit 1
    setsid "$0" supervise "$@" </dev/null >/dev/null 2>&1 &
    echo $! >$PID
    ;;
supervise)
    shift
    echo $$ >$PID
    supervise "$@"
    ;;
stop)
    running || exit 0
    supervisor=$(cat $PID)
    kill "$supervisor"
    for _ in $(seq 150); do kill -0 "$supervisor" 2>/dev/null || exit 0; sleep 0.2; done
    kill -9 "$supervisor"
    ;;
status) running ;;
*)
    sed -n 2,3p "$0"
    exit 2
    ;;
esac
