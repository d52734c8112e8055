#!/bin/sh
# Spark's standalone cluster in containers: `spark.sh master` or `spark.sh worker`. Master, workers,
# executors and drivers prove to each other that they know SPARK_AUTHENTICATE_SECRET.
set -eu

: "${SPARK_AUTHENTICATE_SECRET:?must be set, since whoever reaches the master could run code on workers}"
export SPARK_HOME=/opt/spark
# Spark's processes look for the secret here first; in a file or an argument it would stay to be seen.
export _SPARK_AUTH_SECRET="$SPARK_AUTHENTICATE_SECRET"
unset SPARK_AUTHENTICATE_SECRET
# Where their pages listen, which ask for nothing.
export SPARK_LOCAL_IP=127.0.0.1
export SPARK_DAEMON_MEMORY=512m
# Executors that have ended leave their jars and logs behind.
cat >/tmp/spark.conf <<'END'
spark.authenticate true
spark.authenticate.secret see _SPARK_AUTH_SECRET
spark.worker.cleanup.enabled true
spark.worker.cleanup.interval 600
spark.worker.cleanup.appDataTtl 3600
END

run() {
    exec "$SPARK_HOME/bin/spark-class" "$@" --properties-file /tmp/spark.conf
}

case "${1:-}" in
    master) run org.apache.spark.deploy.master.Master --host "$(hostname)" --port 7077 ;;
    worker)
        run org.apache.spark.deploy.worker.Worker --host "$(hostname)" --work-dir /tmp/work \
            --cores "${WORKER_CORES:-1}" --memory "${WORKER_EXECUTOR_MEMORY:-1g}" \
            spark://spark-master:7077
        ;;
    *)
        echo "usage: $0 master|worker" >&2
        exit 2
        ;;
esac
