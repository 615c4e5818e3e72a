"""The page: a clip goes in, what the network sees comes out."""
import math
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import page_texts
from frame_grid import FrameGrid

from selfy_mmaction.apis import sliding
from selfy_mmaction.apis import video as media
from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.similarity import Position, observe
from selfy_mmaction.datasets.video import SUFFIXES, VideoFile
from selfy_mmaction.visualization import charts
from selfy_mmaction.visualization.pictures import draw, to_image

# Every hour, files of more than a day are deleted: uploads and pictures.
CLEANING = 3600, 86_400
# Longer clips get a timeline, of windows of this length, and one of them is
# shown, in seconds.
LONG, WINDOW = 6., 2.
# Of what is played, in pixels.
PLAYER_SIDE = 480
# Where a window is so wide, in pixels, frames and picture are side by side.
WIDE = 900
CSS = f"""\
.prose {{ max-width: 46rem; }}
.details {{
    display: grid !important;
    grid-template: "frames" "picture" "colours" / minmax(0, 1fr);
}}
.frames {{ grid-area: frames; overflow-x: auto !important; }}
.frames img {{
    cursor: crosshair;
    height: 13rem !important; width: auto !important; max-width: none;
}}
.frames button {{ justify-content: start; }}
.picture {{ grid-area: picture; }}
.colours {{ grid-area: colours; }}
@media (min-width: {WIDE}px) {{
    .details {{
        grid-template: "frames picture" auto "colours picture" 1fr
            / minmax(0, 2fr) minmax(0, 3fr);
    }}
    .frames img {{ height: auto !important; width: 100% !important; }}
}}
"""
# Asked at each event: the answer at the page's load may come too late.
WINDOW_WIDTH = '(...given) => [...given.slice(0, -1), window.innerWidth]'


def watch(predictor: VideoPredictor, video: media.Video,
          segments: list[sliding.Segment],
          changes: list[float]) -> Iterator[float]:
    """Predict on the windows of a long video.

    ``segments`` takes the windows, and ``changes`` how much each frame differs
    from the one before.

    Yields:
        float: After about a second of the video, the seconds so far.
    """
    slide = sliding.SlidingWindow(predictor, video, WINDOW, WINDOW / 2)
    before = None
    followed = sliding.follow(video, slide, segments.append)
    for count, (frame, _) in enumerate(followed, 1):
        small = shrink(frame, 32).astype(float)
        changes.append(0 if before is
                       None else float(np.abs(small - before).mean()))
        before = small
        if count % math.ceil(video.fps) == 0:
            yield video.times[count]


def shrink(frame: np.ndarray, side: int) -> np.ndarray:
    """Resize a frame [H, W, 3]: its longer side at most this, both even."""
    factor = min(1, side / max(frame.shape[:2]))
    size = [max(2, round(factor * x / 2) * 2) for x in frame.shape[1::-1]]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def find_most_moving(segments: list[sliding.Segment], changes: list[float],
                     times: np.ndarray) -> sliding.Segment:
    """The window whose frames change most; the median, as a cut is no motion.
    """

    def median_change(segment: sliding.Segment) -> float:
        first, end = np.searchsorted(times, segment[:2])
        return np.median(changes[first:end] or 0)

    return max(segments, key=median_change)


def copy_part(path: str, part: sliding.Segment | None, clip: Path) -> None:
    """Copy a clip, or a part of it, to what every browser plays."""
    with VideoFile(path) as video:
        times = np.append(video.times, video.times[-1] + 1 / video.fps)
        first, end = np.searchsorted(times, part[:2]) if part else (0,
                                                                    len(video))
        frames = (
            shrink(video.frames([i])[0], PLAYER_SIDE)
            for i in range(first, end))
        media.write_video(clip, frames, video.fps,
                          times[first:end + 1] - times[first])


def draw_picture(grid: FrameGrid, title: str, query: Position,
                 width: int) -> np.ndarray:
    """What the block sees from a place, for a window of this width."""
    columns = 3 if width >= WIDE else 2
    return to_image(draw(grid.seen, [query], title, columns))


def build_page(predictor: VideoPredictor, observer: VideoPredictor, demo: Path,
               is_synthetic: bool) -> gr.Blocks:
    """Build the page.

    Args:
        predictor (VideoPredictor): Predicts.
        observer (VideoPredictor): Computes the picture.
        demo (Path): Folder of examples, named by their classes.
        is_synthetic (bool): Whether the network knows rendered clips alone.
    """
    # Paths that visitors gave, and may come back to; what each asked for last.
    known, newest = set(), {}
    # One at a time: the network keeps what it sees where others would find it.
    network = threading.Lock()

    def while_wanted(steps: Iterator[dict], request: gr.Request):
        """Take steps until the visitor asks for something else.

        Gradio itself ends the newest of several runs, not the oldest.
        """
        ticket = newest[request.session_hash] = object()
        while newest[request.session_hash] is ticket:
            with network:
                update = next(steps, None)
            if update is None:
                return
            yield update

    def remember(path: str | None):
        known.update([path] if path else [])
        return path

    def return_to(path: str | None):
        is_there = path in known and Path(path).is_file()
        # Nothing, not None: a visitor may have been faster.
        return path if is_there else gr.skip()

    def on_clip(path: str | None, width: int, request: gr.Request):
        yield from while_wanted(ask(path, width), request)

    def ask(path: str | None, width: int):
        yield {
            player: None,
            answer: None,
            problem: gr.Textbox(visible=False),
            long: gr.Column(visible=False),
            details: gr.Column(visible=False)
        }
        if path is None:
            return
        try:
            video = media.Video(path)
            seconds = video.times[-1]
            if seconds > LONG:
                part = yield from choose_part(video, seconds)
                yield from show(path, width, part)
            else:
                video.close()
                yield from show(path, width)
        except (OSError, ValueError) as error:
            # Of the path, a visitor knows the name alone.
            text = str(error).replace(path, Path(path).name)
            yield {
                problem: gr.Textbox(text, visible=True),
                answer: None,
                player: None
            }

    def choose_part(video: media.Video, seconds: float):
        segments, changes = [], []
        for second in watch(predictor, video, segments, changes):
            yield {answer: f'Watching: second {second:.0f} of {seconds:.0f}'}
        part = find_most_moving(segments, changes, video.times)
        with tempfile.TemporaryDirectory() as folder:
            chart = Path(folder, 'timeline.png')
            charts.draw_timeline(
                segments, Path(video.source).name, chart, width=5)
            slider = gr.Slider(
                value=part.start, maximum=segments[-1].start, step=WINDOW / 2)
            yield {
                long: gr.Column(visible=True),
                timeline: str(chart),
                start: slider,
                parts: (video.source, segments)
            }
        return part

    def on_start(parts_of: tuple, second: float, width: int,
                 request: gr.Request):
        path, segments = parts_of
        part = min(segments, key=lambda segment: abs(segment.start - second))
        yield from while_wanted(show(path, width, part), request)

    def show(path: str, width: int, part: sliding.Segment | None = None):
        yield {answer: 'Asking the network'}
        title = Path(path).name
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder, 'clip.webm')
            copy_part(path, part, clip)
            yield {player: str(clip)}
            seen = observe(observer, str(clip) if part else path)
        if part:
            seen.predictions = part.predictions
            title += f', {part.start:.0f} to {part.end:.0f} s'
        elif observer is not predictor:
            seen.predictions = predictor(path)
        best = seen.predictions[0]
        title += f': {best["name"]} ({best["score"]:.0%})'
        query = seen.clearest()
        # On a phone they are a strip.
        grid = FrameGrid(seen, None if width >= WIDE else len(seen.frames))
        yield {
            answer: {
                found['name']: found['score']
                for found in seen.predictions if found['score'] >= 0.005
            },
            details: gr.Column(visible=True),
            frames: grid.draw(query),
            picture: None,
            shown: (grid, title)
        }
        yield {picture: draw_picture(grid, title, query, width)}

    def on_place(shown_of: tuple, width: int, event: gr.SelectData):
        grid, title = shown_of
        query = grid.position_at(*event.index)
        if query is None:
            return gr.skip()
        return grid.draw(query), draw_picture(grid, title, query, width)

    plain = dict(show_label=False, format='png', interactive=False, buttons=[])
    with gr.Blocks(
            title='SELFY', analytics_enabled=False,
            delete_cache=CLEANING) as page:
        shown, parts = gr.State(), gr.State()
        kept = gr.BrowserState(storage_key='selfy_clip', secret='selfy')
        width = gr.Number(1280, visible=False)
        gr.Markdown(page_texts.WHAT)
        with gr.Row():
            with gr.Column():
                clip = gr.File(
                    label='Clip', file_types=list(SUFFIXES), height=120)
                problem = gr.Textbox(label='What is wrong', visible=False)
                clips = [
                    str(path) for path in sorted(demo.glob('*.webm'))
                    if path.stem.replace('_', ' ') in predictor.classes
                ]
                examples = gr.Dataset(
                    label='Or one of these',
                    components=[gr.Video(render=False)],
                    samples=[[path] for path in clips],
                    visible=bool(clips))
                player = gr.Video(
                    label='What the network sees',
                    height=300,
                    autoplay=True,
                    loop=True,
                    buttons=[],
                    elem_classes='player')
            with gr.Column():
                answer = gr.Label(label='What happens')
                with gr.Column(visible=False) as long:
                    timeline = gr.Image(elem_classes='timeline', **plain)
                    start = gr.Slider(
                        0,
                        label=f'Which {WINDOW:g} seconds? From second',
                        elem_classes='start')
                gr.Markdown(
                    page_texts.describe_limits(predictor.classes, is_synthetic,
                                               LONG))
        with gr.Column(visible=False) as details:
            gr.Markdown(page_texts.CLICK)
            with gr.Column(elem_classes='details'):
                frames = gr.Image(elem_classes='frames', **plain)
                picture = gr.Image(elem_classes='picture', **plain)
                gr.Markdown(page_texts.COLOURS, elem_classes='colours')
        examples.click(
            lambda sample: sample[0], examples, clip, api_visibility='private')
        outputs = [
            player, answer, problem, long, timeline, start, parts, details,
            frames, picture, shown
        ]
        clip.change(remember, clip, kept, api_visibility='private')
        at_once = dict(
            js=WINDOW_WIDTH,
            trigger_mode='multiple',
            concurrency_limit=None,
            show_progress='hidden')
        clip.change(
            on_clip, [clip, width], outputs, api_name='look', **at_once)
        start.release(
            on_start, [parts, start, width],
            outputs,
            api_visibility='private',
            **at_once)
        frames.select(
            on_place, [shown, width], [frames, picture],
            api_visibility='private',
            js=WINDOW_WIDTH,
            show_progress_on=picture)
        page.load(return_to, kept, clip, api_visibility='private')
    return page
