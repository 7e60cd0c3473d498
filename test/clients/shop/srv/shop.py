"""What the programs of the shop share."""
import os
import signal
import sys

import psycopg2
import redis

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def database():
    with open('/run/secrets/db_password') as secret:
        return psycopg2.connect(os.environ['DATABASE'], password=secret.read().strip())


def queue():
    return redis.Redis.from_url(os.environ['QUEUE'])
