"""Export a recognizer as an ONNX model, from clips to class probabilities.

The model takes any number of clips [clips, frames, 3, H, W]. It is compared
with PyTorch, and written only if both agree. Run it with tools/predict.py
--backend onnx, or with any ONNX runtime: its metadata has the class names,
mean and std, and the shape of a clip.
"""
import argparse

from selfy_mmaction.engine import errors, launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write, e.g. model.onnx')
    parser.add_argument(
        '--fuse',
        action='store_true',
        help='fold batch norms into convolutions before the export')
    parser.add_argument(
        '--raw',
        action='store_true',
        help='take uint8 frames, in the channel order of the decoder, and '
        'normalise them in the model; by default it takes normalised floats')
    parser.add_argument(
        '--opset',
        type=int,
        default=20,
        help='version of the ONNX operators; by default 20, which ONNX '
        'Runtime supports since 1.17')
    parser.add_argument(
        '--video', help='a video file to verify the model on, in addition')
    parser.add_argument(
        '--labels',
        help='text file with one class name per line; by default the names '
        'in the checkpoint, or else the class numbers')
    launch.add_config_options(parser)
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.apis.export import export
    from selfy_mmaction.apis.inference import VideoPredictor

    with launch.log_to_stderr():
        cfg = launch.load_config(args.config, args.cfg_options)
        predictor = VideoPredictor(cfg, args.checkpoint, 'cpu', args.labels)
        differences = export(predictor, cfg, args.out, args.fuse, args.raw,
                             args.opset, args.video)
    for what, difference in differences.items():
        print(f'{what}: at most {difference:.1e} between the probabilities '
              'of ONNX Runtime and PyTorch')
    print(args.out)


if __name__ == '__main__':
    main()
