"""What is left out of a published checkpoint."""
from mmengine.config import Config

from selfy_mmaction.evaluation.publishing import strip_paths


def test_paths_in_a_config():
    text = strip_paths(
        "data_root = '/home/me/sets/sthv1/'\n"
        "loader = dict(classes='/home/me/repo/configs/_base_/a.txt',\n"
        "    pipeline=[dict(ann=('/x/list.txt', 'relative/list.txt'))])\n"
        "load_from = 'https://host/a.pth'\nwork_dir = './work'\n"
        "resume = True\nlauncher = 'slurm'\nlr = 1e-2\n")
    assert Config.fromstring(text, '.py').to_dict() == dict(
        data_root='sthv1',
        loader=dict(
            classes='configs/_base_/a.txt',
            pipeline=[dict(ann=('list.txt', 'relative/list.txt'))]),
        lr=0.01)
