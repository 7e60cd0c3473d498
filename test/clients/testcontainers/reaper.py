"""Speaks Ryuk's protocol: what testcontainers' reaper image does, which cannot be fetched here.

A client connects to port 8080 and writes lines of filters, `label=key=value&label=…`, each answered `ACK`. When the last client is gone for
RYUK_RECONNECTION_TIMEOUT, or none came for RYUK_CONNECTION_TIMEOUT, the containers, networks, volumes and images with these labels are
removed over the engine's socket.
"""
import http.client
import json
import os
import re
import select
import socket
import time
import urllib.parse

UNITS = {'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}


def seconds(variable, default):
    """Go's durations: 1m30s."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r'([\d.]+)(ms|s|m|h)', os.environ.get(variable, default)))


class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect('/var/run/docker.sock')


def call(method, path, **query):
    engine = Engine('engine')
    engine.request(method, f'{path}?{urllib.parse.urlencode(query)}')
    answer = engine.getresponse()
    body = answer.read()
    engine.close()
    if answer.status >= 400:
        print(f'{method} {path}: {answer.status} {body.decode()}', flush=True)
        return None
    return json.loads(body) if body else None


def reap(filters):
    for labels in filters:
        chosen = json.dumps({'label': labels})
        for container in call('GET', '/containers/json', all=1, filters=chosen) or []:
            # It carries the label of the session, too.
            if 'org.testcontainers.ryuk' not in container['Labels']:
                call('DELETE', f'/containers/{container["Id"]}', force=1, v=1)
        for network in call('GET', '/networks', filters=chosen) or []:
            call('DELETE', f'/networks/{network["Id"]}')
        for volume in (call('GET', '/volumes', filters=chosen) or {}).get('Volumes') or []:
            call('DELETE', f'/volumes/{volume["Name"]}', force=1)
        for image in call('GET', '/images/json', filters=chosen) or []:
            call('DELETE', f'/images/{image["Id"]}', force=1)


def serve():
    """Takes filters until everybody is gone for long enough."""
    server = socket.create_server(('', 8080))
    print('Started', flush=True)
    filters, clients = [], {}
    deadline = time.monotonic() + seconds('RYUK_CONNECTION_TIMEOUT', '60s')
    while clients or time.monotonic() < deadline:
        ready, _, _ = select.select([server, *clients], [], [], None if clients else max(0, deadline - time.monotonic()))
        for one in ready:
            if one is server:
                clients[server.accept()[0]] = b''
                continue
            try:
                data = one.recv(4096)
            except ConnectionResetError:
                data = b''
            if not data:
                one.close()
                del clients[one]
                deadline = time.monotonic() + seconds('RYUK_RECONNECTION_TIMEOUT', '10s')
                continue
            *lines, clients[one] = (clients[one] + data).split(b'\n')
            for line in lines:
                labels = [value for key, value in urllib.parse.parse_qsl(line.decode().strip()) if key == 'label']
                if labels and labels not in filters:
                    filters.append(labels)
                one.sendall(b'ACK\n')
    return filters


reap(serve())
