from shop import database

with database() as connection, connection.cursor() as cursor:
    cursor.execute('create table if not exists orders (id serial primary key, item text not null, worker text not null)')
print('the schema is there', flush=True)
