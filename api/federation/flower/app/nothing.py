"""No program: server and sites run what is installed on them."""

app = None
