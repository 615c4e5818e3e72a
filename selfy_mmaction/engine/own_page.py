"""Keeping other sites away from a page that this machine serves."""
from collections.abc import Callable, Sequence


class OwnPage:
    """Refuses requests that another site has a browser send.

    Such a site may give itself the address of this machine, and then comes
    under its own name (DNS rebinding).

    Args:
        app (Callable): The ASGI application to guard.
        names (Sequence[str]): HOST:PORT that the page is known by.
    """

    def __init__(self, app: Callable, names: Sequence[str]) -> None:
        self.app = app
        self.hosts = [name.encode() for name in names]
        self.origins = [b'http://' + name for name in self.hosts]

    async def __call__(self, scope: dict, receive: Callable,
                       send: Callable) -> None:
        """Answer a request."""
        headers = dict(scope.get('headers', ()))
        if scope['type'] == 'lifespan' or (
                headers.get(b'host') in self.hosts
                and headers.get(b'origin', self.origins[0]) in self.origins):
            await self.app(scope, receive, send)
            return
        await send(dict(type='http.response.start', status=403, headers=[]))
        await send(dict(type='http.response.body', body=b''))
