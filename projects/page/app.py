"""A web page on this machine: give it a clip, see what the network sees.

It shows the best classes, and what the SELFY block sees and adds. In a frame,
another place can be chosen to be compared; of a long clip, another part.
"""
import argparse
import copy
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.datasets.recipes import (
    frame_size,
    scale_sizes,
    stage_pipeline,
    stage_pipelines,
)
from selfy_mmaction.engine import errors, launch

# Gradio reports each start to its makers unless told not to, on import.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'

ROOT = Path(__file__).resolve().parents[2]
NAME = 'selfy_tsm_r18_motion'
# Frames for the block have this side, in pixels, or that of the network if it
# is larger.
SIDE = 192


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


def enlarge(cfg: Config, side: int) -> Config:
    """Have the frames of a test enlarged to so many pixels.

    Small frames make few places, of which a picture shows little.

    Returns:
        Config: A changed copy, or the same one if the longer side of its
        frames is as large, or has no fixed size.
    """
    try:
        longer = max(frame_size(stage_pipeline(cfg, 'test')))
    except ValueError:
        return cfg
    if longer >= side:
        return cfg
    enlarged = copy.deepcopy(cfg)
    for pipeline in stage_pipelines(enlarged, 'test'):
        scale_sizes(pipeline, side / longer)
    return enlarged


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


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if not 0 < args.port < 65536:
        raise ValueError(f'--port {args.port}: give a number from 1 to 65535.')
    try:
        import clip_page
        import local_page
    except ImportError as error:
        raise ValueError('the page needs gradio, which is not installed: pip '
                         "install '.[app]'.") from error
    predictor, observer = load_predictors(args)
    is_published = Path(predictor.model_file).name.startswith(f'{NAME}_2')
    page = clip_page.build_page(predictor, observer, ROOT / 'demo',
                                is_published)
    address = local_page.serve(page, args.port, [ROOT / 'demo'], clip_page.CSS)
    print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
    page.block_thread()


if __name__ == '__main__':
    main()
