"""Test a recognizer."""
import argparse

from mmengine.config import Config

from selfy_mmaction.engine.checkpoint import StrictLoadHook, check_checkpoint
from selfy_mmaction.engine.launch import (add_runner_options, build_runner,
                                          load_runner_config, one_line_errors)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump',
        metavar='FILE.pkl',
        help='write the predictions to a pickle file')
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='write drawn predictions here')
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        help='draw every so many samples; all by default')
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        help='seconds to show a window; 2 by default')
    add_runner_options(parser)
    return parser.parse_args()


def apply_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments into the config."""
    check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False

    if args.show or args.show_dir:
        if 'visualization' not in cfg.default_hooks:
            raise ValueError('--show and --show-dir need '
                             'default_hooks.visualization='
                             "dict(type='VisualizationHook') in the config.")
        cfg.default_hooks.visualization.update(
            enable=True,
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval)

    if args.dump:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump {args.dump}: give it the ending .pkl.')
        if not isinstance(cfg.test_evaluator, (list, tuple)):
            cfg.test_evaluator = [cfg.test_evaluator]
        cfg.test_evaluator = [
            *cfg.test_evaluator,
            dict(type='DumpResults', out_file_path=args.dump)
        ]


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = load_runner_config(args)
    apply_args(cfg, args)
    runner = build_runner(cfg, stages=('test', ))
    runner.register_hook(StrictLoadHook())
    runner.test()


if __name__ == '__main__':
    main()
