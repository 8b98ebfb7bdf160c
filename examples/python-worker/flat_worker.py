#!/usr/bin/env python3
"""The least that a worker can be: takes a job, says that it runs, does it, says how it ended.

No retry, no cancel, no slices: for those see vmctl_worker.py. What it says is a flat object with the
routing key `reader`; a reader of the suite makes events of it.
"""

import json
import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["VMCTL_AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_qos(prefetch_count=1)


def say(uuid, **what):
    channel.basic_publish("jobs", "reader", json.dumps({"uuid": uuid, **what}),
                          pika.BasicProperties(delivery_mode=2))


def work(_channel, method, _properties, body):
    command = json.loads(body)
    uuid, job = command["subject"], command["data"]["job"]
    say(uuid, state="INPROGRESS")
    if job["input"].get("unreadable"):
        say(uuid, state="FAILED", error="nobody can read the sources")
    else:
        say(uuid, state="SUCCESSFULL", output={"title": job["input"]["title"], "pages": 3})
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("work.report.build", work)
channel.start_consuming()
