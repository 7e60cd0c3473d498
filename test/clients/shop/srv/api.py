"""GET /health, GET /orders, POST /orders with the item as the body."""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import database, queue

with open('/etc/shop/settings.json') as file:
    settings = json.load(file)


class Handler(BaseHTTPRequestHandler):
    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with database() as connection, connection.cursor() as cursor:
            cursor.execute('select item, worker from orders order by id')
            rows = cursor.fetchall()
        queue().ping()
        if self.path == '/health':
            return self.answer({'status': 'ok'})
        self.answer({**settings, 'host': os.uname().nodename, 'orders': [item for item, _ in rows]})

    def do_POST(self):
        item = self.rfile.read(int(self.headers['content-length']))
        self.answer({'waiting': queue().rpush('orders', item)})

    def log_message(self, format, *args):
        print(format % args, flush=True)


print('the api listens', flush=True)
ThreadingHTTPServer(('', 8000), Handler).serve_forever()
