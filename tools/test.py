"""Test a recognizer."""
import argparse

from mmengine.config import Config

from selfy_mmaction.engine import errors, launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--dump', metavar='FILE.npz', help='write the predictions to a file')
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='folder to draw the predictions in')
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        help='draw every INTERVAL-th sample; all by default')
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        help='seconds to show a window; 2 by default')
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='test without the clips that cannot be read; the accuracies are '
        'then called partial')
    launch.add_runner_options(parser)
    return parser.parse_args()


def apply_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments into the config."""
    from mmengine.dist import is_main_process

    from selfy_mmaction.apis.video import has_display
    from selfy_mmaction.engine.checkpoint import load_checkpoint
    from selfy_mmaction.evaluation.metrics import dump_results
    if is_main_process():
        load_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False

    if args.interval < 1:
        raise ValueError(f'--interval {args.interval}: give 1 or more.')
    if args.show and not has_display():
        raise ValueError('--show needs a display: use --show-dir here.')
    if args.dump:
        dump_results(cfg, args.dump)


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    # --help is quick without these.
    from selfy_mmaction.engine import hooks, runner
    cfg = launch.load_runner_config(args)
    runner.connect_processes(cfg)
    apply_args(cfg, args)
    test = runner.build_runner(cfg, stages=('test', ))
    test.register_hook(hooks.StrictLoadHook())
    test.register_hook(hooks.CheckNumbersHook())
    if args.skip_bad:
        test.register_hook(hooks.LeaveOutHook())
    if args.show or args.show_dir:
        from selfy_mmaction.datasets.recipes import gives_logits
        from selfy_mmaction.visualization.frames import DrawPredictionsHook
        test.register_hook(
            DrawPredictionsHook(
                gives_logits(cfg), args.show_dir, args.show, args.interval,
                args.wait_time))
    test.test()


if __name__ == '__main__':
    main()
