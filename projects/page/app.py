"""A web page on this machine: give it a clip, see what the network sees.

It shows the best classes, and what the SELFY block sees and adds. In a frame,
another place can be chosen to be compared.
"""
import argparse
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import local_page
import numpy as np
import page_texts
from frame_grid import Sheet
from mmengine.device import get_device

from selfy_mmaction.apis import sliding
from selfy_mmaction.apis import video as media
from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.similarity import (
    Position,
    SelfSimilarity,
    enlarge,
    observe,
)
from selfy_mmaction.containers import SUFFIXES
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.visualization import charts
from selfy_mmaction.visualization.pictures import draw, to_image

# Gradio reports each start to its makers unless told not to, on import.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'demo'
NAME = 'selfy_tsm_r18_motion'
# Of frames, in pixels: for the block, unless the network takes larger ones,
# and in the player.
SIDE, PLAYER_SIDE = 192, 480
# Clips that are longer get a timeline, of windows of this length, in seconds.
LONG, WINDOW = 6., 2.
# Browsers with less pixels in a row get the pictures for phones.
NARROW = 700
CSS = """\
.prose { max-width: 46rem; }
.frames img { cursor: crosshair; }
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


def find_published() -> str:
    """The published checkpoint of the quickstart."""
    published = sorted((ROOT / 'checkpoints').glob(f'{NAME}_2*.pth'))
    if not published:
        raise FileNotFoundError(
            f'no checkpoint {NAME}_*.pth in {ROOT / "checkpoints"}: give a '
            'config and a checkpoint.')
    return str(published[-1])


def load_predictors(args: argparse.Namespace) -> list[VideoPredictor]:
    """Load the network of the arguments, or that of the quickstart.

    Returns:
        list[VideoPredictor]: What predicts, and what computes the picture,
        on larger frames if those of the network are small.
    """
    if args.config and not args.checkpoint:
        raise ValueError(f'config {args.config} is given without a '
                         'checkpoint: give both, or none.')
    checkpoint = args.checkpoint or find_published()
    config = args.config or str(ROOT / f'configs/{NAME}.py')
    device = args.device or get_device()
    with launch.log_to_stderr():
        cfg = launch.load_config(config, args.cfg_options)
        predictor = VideoPredictor(cfg, checkpoint, device)
        larger = enlarge(cfg, SIDE)
        return [
            predictor, predictor if larger is cfg else VideoPredictor(
                larger, checkpoint, device)
        ]


def write_copy(video: media.Video, frames: Iterable[np.ndarray], folder: Path,
               progress: Callable) -> str:
    """Copy a video to what every browser plays, and return where it is."""
    clip = folder / 'clip.webm'
    small = (media.shrink(frame, PLAYER_SIDE) for frame in frames)
    followed = progress.tqdm(small, 'Watching the clip', video.total_frames,
                             'frames')
    media.write_video(clip, followed, video.fps)
    return str(clip)


def draw_picture(seen: SelfSimilarity, name: str, query: Position,
                 width: int) -> np.ndarray:
    """What the block sees from a place, for a browser of this width."""
    best = seen.predictions[0]
    title = f'{name}: {best["name"]} ({best["score"]:.0%})'
    return to_image(draw(seen, [query], title, narrow=width < NARROW))


def build_page(predictor: VideoPredictor, observer: VideoPredictor):
    """Build the page, a ``gradio.Blocks``.

    Args:
        predictor (VideoPredictor): What predicts.
        observer (VideoPredictor): What computes the picture.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError('the page needs gradio, which is not installed: pip '
                         "install '.[app]'.") from error

    # Of this one, the limits are known.
    is_published = Path(predictor.model_file).name.startswith(f'{NAME}_2')

    def look(path: str | None, width: int,
             progress=gr.Progress()):  # noqa: B008
        shown = {
            player: None,
            answer: gr.Label(None, visible=True),
            timeline: gr.Image(None, visible=False),
            details: gr.Column(visible=False)
        }
        yield shown
        if path is None:
            return
        try:
            video = media.Video(path)
            # Of an unknown length, it may be long.
            is_long = (video.total_frames or math.inf) > LONG * video.fps
            with tempfile.TemporaryDirectory() as folder:
                show = show_long if is_long else show_short
                for new in show(video, width, Path(folder), progress):
                    shown |= new
                    yield shown
        except (OSError, ValueError) as error:
            # Of the path, a visitor knows the name alone.
            raise gr.Error(
                str(error).replace(path,
                                   Path(path).name),
                duration=None,
                print_exception=False) from error

    def show_long(video: media.Video, _: int, folder: Path,
                  progress: Callable):
        segments, chart = [], folder / 'timeline.png'
        slide = sliding.SlidingWindow(predictor, video, WINDOW, WINDOW / 2)
        followed = sliding.follow(video, slide, segments.append)
        frames = (frame for frame, _ in followed)
        clip = write_copy(video, frames, folder, progress)
        charts.draw_timeline(segments, Path(video.source).name, chart, width=5)
        yield {
            player: clip,
            answer: gr.Label(visible=False),
            timeline: gr.Image(str(chart), visible=True)
        }

    def show_short(video: media.Video, width: int, folder: Path,
                   progress: Callable):
        progress(None, desc='Asking the network')
        name = Path(video.source).name
        seen = observe(observer, video.source)
        if observer is not predictor:
            seen.predictions = predictor(video.source)
        query, = seen.strongest(1)
        yield {
            player: write_copy(video, video, folder, progress),
            answer: {
                p['name']: p['score']
                for p in seen.predictions
            },
            details: gr.Column(visible=True),
            frames: Sheet(seen).draw(query),
            picture: None,
            state: (seen, name)
        }
        progress(None, desc='Drawing')
        yield {picture: draw_picture(seen, name, query, width)}

    def move(seen_of: tuple, width: int, event: gr.SelectData):
        seen, name = seen_of
        sheet = Sheet(seen)
        query = sheet.position_at(*event.index)
        return sheet.draw(query), draw_picture(seen, name, query, width)

    plain = dict(show_label=False, format='png', interactive=False, buttons=[])
    with gr.Blocks(
            title='SELFY',
            analytics_enabled=False,
            delete_cache=local_page.CLEANING) as page:
        state = gr.State()
        width = gr.Number(1280, visible=False)
        gr.Markdown(page_texts.WHAT)
        with gr.Row():
            with gr.Column():
                clip = gr.File(
                    label='Clip', file_types=list(SUFFIXES), height=120)
                clips = sorted(map(str, DEMO.glob('*.webm')))
                examples = gr.Dataset(
                    label='Or one of these',
                    components=[gr.Video(render=False)],
                    samples=[[path] for path in clips],
                    visible=bool(clips))
                player = gr.Video(
                    label='The clip',
                    height=300,
                    autoplay=True,
                    loop=True,
                    buttons=[],
                    elem_classes='player')
            with gr.Column():
                answer = gr.Label(label='What happens')
                timeline = gr.Image(
                    visible=False, elem_classes='timeline', **plain)
                gr.Markdown(
                    page_texts.describe_limits(predictor.classes, is_published,
                                               LONG))
        with gr.Column(visible=False) as details:
            with gr.Row():
                with gr.Column():
                    gr.Markdown('### Click a place to compare it')
                    frames = gr.Image(elem_classes='frames', **plain)
                with gr.Column():
                    gr.Markdown(page_texts.COLOURS)
            picture = gr.Image(elem_classes='picture', **plain)
        # Asked at each event: the answer at the page's load may come too late.
        js = '(first, _) => [first, window.innerWidth]'
        examples.click(
            lambda sample: sample[0], examples, clip, api_visibility='private')
        clip.change(
            look, [clip, width],
            [player, answer, timeline, details, frames, picture, state],
            api_name='look',
            js=js,
            show_progress_on=answer)
        frames.select(
            move, [state, width], [frames, picture],
            api_visibility='private',
            js=js,
            show_progress_on=picture)
    return page


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if not 0 < args.port < 65536:
        raise ValueError(f'--port {args.port}: give a number from 1 to 65535.')
    page = build_page(*load_predictors(args))
    address = local_page.serve(page, args.port, [DEMO], CSS)
    print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
    page.block_thread()


if __name__ == '__main__':
    main()
