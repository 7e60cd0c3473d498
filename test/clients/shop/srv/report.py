import sys

from shop import database

with database() as connection, connection.cursor() as cursor:
    cursor.execute('select count(*) from orders')
    print(f'{cursor.fetchone()[0]} orders {" ".join(sys.argv[1:])}'.strip())
