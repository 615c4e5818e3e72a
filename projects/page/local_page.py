"""Serving a web page to this machine alone."""
from collections.abc import Callable, Sequence
from pathlib import Path

MAX_UPLOAD = '100mb'
# Every hour, files of more than a day are deleted: uploads and pictures.
CLEANING = 3600, 86_400


class OwnPage:
    """Refuses requests that another site has a browser send.

    Such a site may give itself the address of this machine, and then comes
    under its own name (DNS rebinding).

    Args:
        app (Callable): The ASGI application to guard.
        port (int): Where the page is.
    """

    def __init__(self, app: Callable, port: int) -> None:
        self.app = app
        names = b'127.0.0.1', b'localhost'
        self.hosts = [b'%s:%d' % (name, port) for name in names]
        if port == 80:
            # Browsers leave it out.
            self.hosts += names
        self.origins = [b'http://' + name for name in self.hosts]

    async def __call__(self, scope: dict, receive: Callable,
                       send: Callable) -> None:
        """Answer a request."""
        headers = dict(scope.get('headers', ()))
        if scope['type'] == 'lifespan' or (
                headers.get(b'host', b'').lower() in self.hosts
                and headers.get(b'origin', self.origins[0]) in self.origins):
            await self.app(scope, receive, send)
            return
        await send(dict(type='http.response.start', status=403, headers=[]))
        await send(dict(type='http.response.body', body=b''))


def serve(page, port: int, folders: Sequence[Path], css: str) -> str:
    """Serve a page to the browsers of this machine, from a thread.

    Args:
        page (gradio.Blocks): The page.
        port (int): Where.
        folders (Sequence[Path]): Whose files the page may show.
        css (str): Its styles.

    Returns:
        str: The address.

    Raises:
        OSError: If the port is taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware
    try:
        _, address, _ = page.launch(
            server_name='127.0.0.1',
            server_port=port,
            app_kwargs=dict(middleware=[Middleware(OwnPage, port)]),
            allowed_paths=list(map(str, folders)),
            max_file_size=MAX_UPLOAD,
            share=False,
            ssr_mode=False,
            show_error=True,
            # The default theme has the browser ask Google for its fonts.
            theme=gr.themes.Default(
                font=['system-ui', 'sans-serif'], font_mono=['monospace']),
            css=css,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True)
    except OSError as error:
        raise OSError(f'the page cannot be served at port {port}: is it '
                      'taken? Give another with --port.') from error
    return address
