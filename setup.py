"""Installs selfy_mmaction with the extension folder of MIM.

MIM finds configs, tools and the model index in ``selfy_mmaction/.mim``: links
to the originals in an editable installation, copies in any other.
"""
import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PACKAGE = 'selfy_mmaction'
# Where PyPI has a wheel of decord for today's Pythons.
HAS_DECORD = ' or '.join(
    f'(platform_system == "{system}" and platform_machine == "{machine}")'
    for system, machine in (('Linux', 'x86_64'), ('Windows', 'AMD64')))


def version():
    """The package's version, read without importing PyTorch."""
    text = (ROOT / PACKAGE / '__init__.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


class BuildWithMIM(build_py):
    """Also puts configs, tools and the model index into MIM's folder."""

    def run(self):
        # setuptools before 64, which openmim requires, has no such mode.
        editable = getattr(self, 'editable_mode', False)
        # Windows lets only administrators make links.
        link = editable and os.name != 'nt'
        if editable:
            mim = ROOT / PACKAGE / '.mim'
        else:
            built = Path(self.build_lib) / PACKAGE
            # An earlier build may contain files that were removed since.
            shutil.rmtree(built, ignore_errors=True)
            mim = built / '.mim'
        super().run()
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in ('configs', 'tools', 'model-index.yml'):
            source, target = ROOT / name, mim / name
            if link:
                target.symlink_to(Path('..', '..', name))
            elif source.is_dir():
                shutil.copytree(
                    source,
                    target,
                    ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target)


setup(
    # onedl-mim takes the package's folder from the first line of RECORD, so
    # this name must sort after 'selfy_mmaction/' with '_' in place of '-'. For
    # the same reason there are no console scripts.
    name='selfy-mmaction2',
    version=version(),
    description='SELFY: self-similarity motion for video action recognition, '
    'a plugin for MMAction2',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    cmdclass=dict(build_py=BuildWithMIM),
    python_requires='>=3.10',
    install_requires=[
        # Earlier versions cannot load MMEngine's checkpoints safely.
        'torch>=2.6',
        'mmengine>=0.10.3,<1',
        'av>=17.1',
        f'decord>=0.4.1; {HAS_DECORD}',
        # It requires decord: elsewhere tools/setup_env.sh installs it alone.
        f'mmaction2>=1.2.0,<1.3; {HAS_DECORD}',
        # What it needs beside decord; it does not declare the last.
        'einops',
        'matplotlib',
        'numpy',
        'opencv-contrib-python',
        'Pillow',
        'scipy',
        'importlib_metadata',
        # MMEngine needs distutils and pkg_resources, which 82 removed.
        'setuptools<82',
    ],
    extras_require={
        # MMAction2 needs the module mmcv but requires no distribution of it.
        # An installed mmcv works as well; both at once do not.
        'lite': ['mmcv-lite>=2.0.0,<3'],
        # The photographs that the quickstart's clips are rendered from.
        'motion': ['scikit-image'],
        # PyTorch writes ONNX models with the first two; the third runs them,
        # for which it is sufficient.
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        'tensorboard': ['tensorboard'],
        # The web page of projects/page/app.py.
        'app': ['gradio>=6'],
        'tests': [
            'pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'scikit-image',
            'safetensors', 'onedl-mim', 'onnx', 'onnxscript', 'onnxruntime',
            'tensorboard', 'gradio>=6', 'playwright', 'yapf',
            'triton; platform_system == "Linux"'
        ],
    },
    zip_safe=False)
