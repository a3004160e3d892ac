"""Creates ConfigMaps at a rate, over connections that stay open, until it is told to end (SIGTERM): writer.py KUBECONFIG RATE FILE.

FILE gets a line for each one that the API server acknowledged: its name, UID and resourceVersion. What was begun is waited for.
"""

import base64
import http.client
import json
import re
import signal
import ssl
import sys
import tempfile
import threading
import time

CONNECTIONS = 16

kubeconfig, rate, path = open(sys.argv[1]).read(), int(sys.argv[2]), sys.argv[3]


def field(name):
    return re.search(rf"{name}: *\"?([^\s\"]+)", kubeconfig).group(1)


def pem(name):
    file = tempfile.NamedTemporaryFile()
    file.write(base64.b64decode(field(f"{name}-data")))
    file.flush()
    return file


ca, certificate, key = pem("certificate-authority"), pem("client-certificate"), pem("client-key")
context = ssl.create_default_context(cafile=ca.name)
context.check_hostname = False
context.load_cert_chain(certificate.name, key.name)
address = field("server").removeprefix("https://")
ending, lock, log = threading.Event(), threading.Lock(), open(path, "w", buffering=1)
began = time.monotonic()


def write(connection, number):
    name = f"w-{number:06}"
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(number)}})
    connection.request(
        "POST", "/api/v1/namespaces/default/configmaps", body, {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 201:
        raise SystemExit(f"{name}: {answer.status} {said!r}")
    metadata = json.loads(said)["metadata"]
    with lock:
        log.write(f"{name} {metadata['uid']} {metadata['resourceVersion']}\n")


def lane(start):
    connection = http.client.HTTPSConnection(address, context=context, timeout=60)
    number = start
    while not ending.is_set():
        wait = began + number / rate - time.monotonic()
        if wait > 0 and ending.wait(wait):
            return
        write(connection, number)
        number += CONNECTIONS


signal.signal(signal.SIGTERM, lambda *_: ending.set())
threads = [threading.Thread(target=lane, args=(number,)) for number in range(CONNECTIONS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
log.close()
