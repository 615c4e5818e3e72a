"""Update configs/metafile.yml and docs/model_zoo.md from the configs.

Measures the complexity of every config, which takes a while, and keeps the
weights and accuracies that tools/publish_model.py has entered.
"""
from pathlib import Path

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.evaluation import zoo

ROOT = Path(__file__).resolve().parent.parent


@errors.one_line_errors
def main() -> None:
    launch.ArgumentParser(__doc__).parse_args()
    models = zoo.Zoo(ROOT)
    left_out = models.update()
    models.write()
    for name, reason in left_out.items():
        print(f'{name} is left out: {reason}')
    print(f'{len(models.models)} configs in {models.metafile}.')


if __name__ == '__main__':
    main()
