"""How the tests of the tools run them."""
import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.config import Config
from ports import get_free_port

from selfy_mmaction.engine import launch


@dataclass
class Training:
    """A finished training of the main config."""
    config: str
    options: list[str]
    work_dir: Path
    log: str

    @property
    def checkpoint(self) -> str:
        return str(self.work_dir / 'epoch_1.pth')


@pytest.fixture(scope='session')
def tool_env() -> dict[str, str]:
    """The environment that the tools run in, without GPUs."""
    return {
        **os.environ, 'PYTHON': sys.executable,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': ''
    }


@pytest.fixture
def start_process(tool_env, tmp_path) -> Callable:
    """Start commands in an empty folder; what still runs at the end is killed.
    """
    started = []

    def start(*command: str, **env: str) -> subprocess.Popen:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={
                **tool_env,
                **env
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.fixture
def free_port() -> str:
    """A port for the processes of one training to meet at."""
    return str(get_free_port())


@pytest.fixture(scope='session')
def small(sthv1_root) -> list[str]:
    """Settings that bring a SSV1 config down to the miniature data set."""
    options = ['model.backbone.pretrained=None', 'train_cfg.max_epochs=1']
    for stage in 'train', 'val', 'test':
        loader = f'{stage}_dataloader'
        options += [
            f'{loader}.dataset.data_root={sthv1_root}',
            f'{loader}.batch_size=2',
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
        ]
    for loader in 'val_dataloader', 'test_dataloader':
        options += [
            f'{loader}.dataset.pipeline.2.scale=(80,64)',
            f'{loader}.dataset.pipeline.3.crop_size=64',
        ]
    return [*options, 'train_dataloader.dataset.pipeline.4.scale=(64,64)']


@pytest.fixture(scope='session')
def tiny(small) -> list[str]:
    """The same with a ResNet-18."""
    return [
        *small, 'model.backbone.depth=18', 'model.cls_head.in_channels=512'
    ]


@pytest.fixture(scope='session')
def main_config(repo) -> str:
    return str(repo / 'configs/selfy_tsm_r50_sthv1.py')


@pytest.fixture
def tiny_config(main_config, tiny) -> Config:
    """The main config with these settings."""
    parser = argparse.ArgumentParser()
    launch.add_config_options(parser)
    args = parser.parse_args(['--cfg-options', *tiny])
    return launch.load_config(main_config, args.cfg_options)


@pytest.fixture(scope='session')
def trained(repo, main_config, small, tool_env, tmp_path_factory) -> Training:
    """The main config, trained for two iterations by two processes."""
    folder = tmp_path_factory.mktemp('trained')
    done = subprocess.run([
        repo / 'tools/dist_train.sh', main_config, '2', '--work-dir',
        'work dir', '--auto-scale-lr', '--cfg-options', *small
    ],
                          cwd=folder,
                          env={
                              **tool_env, 'PORT': str(get_free_port())
                          },
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return Training(main_config, small, folder / 'work dir',
                    done.stdout + done.stderr)


@pytest.fixture
def load_tool(repo) -> Callable:
    """Import a program as a module: of tools/, or by its path."""

    def load(name: str):
        path = repo / f'tools/{name}.py'
        if not path.is_file():
            path = repo / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'tool_{path.stem}',
                                                      path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_tool(load_tool, monkeypatch, tmp_path) -> Callable:
    """Run a tool in this process and return what it exits with."""

    def run(name: str, *args: str) -> int | str:
        tool = load_tool(name)
        monkeypatch.setattr(sys, 'argv',
                            [f'{Path(name).name}.py', *map(str, args)])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as exit_info:
            tool.main()
        return exit_info.value.code

    return run


@pytest.fixture
def call_tool(load_tool, monkeypatch, capsys) -> Callable:
    """Run a tool in this process and return what it prints."""

    def call(name: str, *args: str) -> str:
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
        capsys.readouterr()
        load_tool(name).main()
        return capsys.readouterr().out

    return call
