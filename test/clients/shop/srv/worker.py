import os

from shop import database, queue

orders = queue()
connection = database()
connection.autocommit = True
print('waiting for orders', flush=True)
while True:
    _, item = orders.blpop('orders')
    with connection.cursor() as cursor:
        cursor.execute('insert into orders (item, worker) values (%s, %s)', (item.decode(), os.uname().nodename))
    print(f'order of {item.decode()}', flush=True)
