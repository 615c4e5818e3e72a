"""tools/get_flops.py, at the size that a config trains at."""
import sys

import pytest
import yaml


@pytest.fixture
def count(repo, load_tool, monkeypatch, capsys):
    """Runs the tool; returns the multiply-adds that it prints, in G."""

    def count(config, *options):
        monkeypatch.setattr(
            sys, 'argv',
            ['get_flops.py', str(config), *options])
        load_tool('get_flops').main()
        line = capsys.readouterr().out.splitlines()[0]
        return float(line.removeprefix('multiply-adds: ').removesuffix(' G'))

    return count


def test_it_agrees_with_the_zoo(count, repo):
    index = yaml.safe_load((repo / 'configs/metafile.yml').read_text())
    flops, = (
        model['Metadata']['FLOPs'] for model in index['Models']
        if model['Name'] == 'selfy_tsm_r18_motion')
    config = repo / 'configs/selfy_tsm_r18_motion.py'
    # at 64 x 64, to three digits
    assert count(config) == float(f'{flops / 1e9:.3g}')
    assert count(config, '--shape', '64', '64') == count(config)
    larger = count(config, '--shape', '128', '256')
    assert larger == pytest.approx(8 * flops / 1e9, rel=0.02)


def test_a_network_alone_has_no_size(count, tmp_path, repo):
    config = tmp_path / 'network.py'
    config.write_text(
        f"_base_ = '{repo}/configs/_base_/models/selfy_tsm_r18_2stages.py'")
    with pytest.raises(SystemExit, match='no train_dataloader, .* --shape'):
        count(config)
    assert count(config, '--shape', '64', '64') > 0
