"""Ports for servers and processes of the tests."""
import socket


def get_free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]
