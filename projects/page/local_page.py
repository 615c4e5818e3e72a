"""Serving a web page to this machine alone."""
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from fastapi import Depends, HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection

MAX_UPLOAD = '100mb'
# Another site may give its own name this machine's address (DNS rebinding).
_OWN_NAMES = Middleware(
    TrustedHostMiddleware, allowed_hosts=['127.0.0.1', 'localhost'])


def check_origin(connection: HTTPConnection) -> None:
    """Refuse what another site has a browser send.

    Gradio's `strict_cors` keeps its answer from such a site, but acts on what
    it sends, such as an upload.
    """
    headers = connection.headers
    if headers.get('origin') not in (None, f'http://{headers["host"]}'):
        raise HTTPException(403)


def serve(page: gr.Blocks, port: int, folders: Sequence[Path],
          css: str) -> str:
    """Serve a page to the browsers of this machine, from a thread.

    It may show the files of the folders.

    Returns:
        str: The address.
    """
    try:
        _, address, _ = page.launch(
            server_name='127.0.0.1',
            server_port=port,
            app_kwargs=dict(
                middleware=[_OWN_NAMES], dependencies=[Depends(check_origin)]),
            allowed_paths=list(map(str, folders)),
            max_file_size=MAX_UPLOAD,
            share=False,
            ssr_mode=False,
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
