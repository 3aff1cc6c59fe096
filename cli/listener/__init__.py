"""How the API listens: its socket and event loop, the connections that it holds, and HTTP/1.1 on each of them."""
