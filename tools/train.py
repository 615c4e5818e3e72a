"""Train a recognizer."""
import argparse

from mmengine.config import Config

from selfy_mmaction.engine import errors, launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint; without a value, from the last '
        'one in the work directory, or from the start if there is none')
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        help='give each process a different seed')
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='let cuDNN use deterministic algorithms only')
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='log for TensorBoard, too: tensorboard --logdir WORK_DIR')
    launch.add_runner_options(parser)
    return parser.parse_args()


def apply_args(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments into the config."""
    from mmengine.device import get_device
    resume = args.resume
    if cfg.get('resume') and not resume:
        resume = cfg.get('load_from') or 'auto'
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {})}
    cfg.resume, cfg.load_from, seed = find_start(cfg, resume)
    if cfg.randomness.seed is None:
        # MMEngine restores the seed after the order of clips is drawn.
        cfg.randomness.seed = seed

    if args.amp:
        kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp does not work with the {kind} of the '
                             'config: use OptimWrapper.')
        if get_device() == 'cpu':
            raise ValueError('--amp needs a GPU, and there is none.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr.'
                             'base_batch_size in the config: the batch size '
                             'that the learning rate is meant for.')
        cfg.auto_scale_lr.enable = True
    if args.tensorboard:
        log_for_tensorboard(cfg)

    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.diff_rank_seed:
        cfg.randomness.diff_rank_seed = True
    if args.deterministic:
        cfg.randomness.deterministic = True


def find_start(cfg: Config,
               resume: str | None) -> tuple[bool, str | None, int | None]:
    """Find and check what a training starts from: one process, for all.

    Returns:
        tuple: Whether to resume, the checkpoint, and the seed to resume with.
    """
    from mmengine.dist import broadcast_object_list, is_main_process

    from selfy_mmaction.engine import checkpoint
    start = [None]
    if is_main_process():
        source, seed = resume, None
        if resume == 'auto':
            source = checkpoint.find_last_checkpoint(cfg.work_dir)
            if source is None:
                print(f'Nothing to resume in {cfg.work_dir}: starting anew.')
        resumes, source = bool(source), source or cfg.get('load_from')
        if source:
            saved = checkpoint.load_checkpoint(source, resumes)
            seed = saved['meta'].get('seed') if resumes else None
        start = [(resumes, source, seed)]
    broadcast_object_list(start)
    return start[0]


def log_for_tensorboard(cfg: Config) -> None:
    """Make MMEngine write event files, next to its own log."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f'--tensorboard: {error}; pip install tensorboard') from error
    visualizer = cfg.setdefault('visualizer', dict(type='Visualizer'))
    backends = visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    visualizer.vis_backends = [*backends, dict(type='TensorboardVisBackend')]


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    # --help is quick without these.
    from selfy_mmaction.engine import hooks, runner
    cfg = launch.load_runner_config(args)
    runner.connect_processes(cfg)
    apply_args(cfg, args)
    training = runner.build_runner(cfg, stages=('train', 'val'))
    training.register_hook(hooks.CheckNumbersHook())
    training.train()


if __name__ == '__main__':
    main()
