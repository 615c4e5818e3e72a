"""A web page on this machine: give it a clip, see what the network sees.

It shows the best classes, and what the SELFY block sees and adds.
"""
import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.device import get_device

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.similarity import observe
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.visualization.pictures import draw, to_image

# Gradio reports each start to its makers unless told not to, on import.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'

ROOT = Path(__file__).resolve().parent.parent
NAME = 'selfy_tsm_r18_motion'
MAX_UPLOAD = '100mb'
INTRODUCTION = """\
# What does SELFY see?
Give a short clip, or pick one below. The network names what happens in it, \
and the picture shows how: it compares each place with those around it, \
before and after.
"""


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        help='config file of a SELFYNet; that of the quickstart by default')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='its checkpoint file; the published one of the quickstart by '
        'default')
    parser.add_argument(
        '--port', type=int, default=7860, help='7860 by default')
    parser.add_argument(
        '--device', help='cpu, cuda:0, ...; a GPU by default if there is one')
    launch.add_config_options(parser)
    return parser.parse_args()


def load_predictor(args: argparse.Namespace) -> VideoPredictor:
    """Load the network of the arguments, or that of the quickstart."""
    if args.config and not args.checkpoint:
        raise ValueError(f'config {args.config} is given without a '
                         'checkpoint: give both, or none.')
    checkpoint = args.checkpoint
    if not checkpoint:
        published = sorted((ROOT / 'checkpoints').glob(f'{NAME}_2*.pth'))
        if not published:
            raise FileNotFoundError(
                f'no checkpoint {NAME}_*.pth in {ROOT / "checkpoints"}: give '
                'a config and a checkpoint.')
        checkpoint = str(published[-1])
    config = args.config or str(ROOT / f'configs/{NAME}.py')
    with launch.log_to_stderr():
        return VideoPredictor(
            launch.load_config(config, args.cfg_options), checkpoint,
            args.device or get_device())


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


def build_page(predictor: VideoPredictor):
    """Build the page, a ``gradio.Blocks``."""
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError('the page needs gradio, which is not installed: pip '
                         "install '.[app]'.") from error

    def look(video: str | None) -> tuple:
        if video is None:
            return None, None
        name = Path(video).name
        try:
            seen = observe(predictor, video)
        except (OSError, ValueError) as error:
            # Of the path, a visitor knows the name alone.
            raise gr.Error(
                str(error).replace(video, name),
                duration=None,
                print_exception=False) from error
        best = seen.predictions[0]
        figure = draw(seen, seen.strongest(1),
                      f'{name}: {best["name"]} ({best["score"]:.0%})')
        return {p['name']: p['score'] for p in seen.predictions}, to_image(
            figure)

    with gr.Blocks(title='SELFY', analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                video = gr.Video(
                    label='Clip', sources=['upload'], height=300,
                    autoplay=True, loop=True)
                clips = sorted(map(str, (ROOT / 'demo').glob('*.webm')))
                if clips:
                    gr.Examples(clips, video, label='Or one of these')
            label = gr.Label(label='What happens')
        picture = gr.Image(
            show_label=False, format='png', buttons=['download', 'fullscreen'])
        video.change(look, video, [label, picture], api_name='look')
    return page


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if not 0 < args.port < 65536:
        raise ValueError(f'--port {args.port}: give a number from 1 to 65535.')
    page = build_page(load_predictor(args))
    import gradio as gr
    from starlette.middleware import Middleware
    try:
        _, address, _ = page.launch(
            server_name='127.0.0.1',
            server_port=args.port,
            app_kwargs=dict(middleware=[
                Middleware(OwnPage, [f'127.0.0.1:{args.port}',
                                     f'localhost:{args.port}'])
            ]),
            max_file_size=MAX_UPLOAD,
            share=False,
            ssr_mode=False,
            show_error=True,
            # The default theme has the browser ask Google for its fonts.
            theme=gr.themes.Default(
                font=['system-ui', 'sans-serif'], font_mono=['monospace']),
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True)
    except OSError as error:
        raise OSError(f'the page cannot be served at port {args.port}: is it '
                      'taken? Give another with --port.') from error
    print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
    page.block_thread()


if __name__ == '__main__':
    main()
