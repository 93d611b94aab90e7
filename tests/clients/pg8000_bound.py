"""pg8000, whose logins are bound to their TLS connection wherever that is offered."""

import ssl

import pg8000
from scenario import PORT

# Who it is talking to it learns by its login only.
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE

connection = pg8000.connect(
    user="scram_user",
    password="secret",
    host="127.0.0.1",
    port=PORT,
    database="postgres",
    timeout=60,
    ssl_context=context,
)
cursor = connection.cursor()
cursor.execute("select current_user")
print(cursor.fetchone()[0])
connection.close()
