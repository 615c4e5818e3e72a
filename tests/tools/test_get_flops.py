"""tools/get_flops.py, at the size that a config trains at."""
import pytest
import yaml


def test_it_agrees_with_the_zoo(call_tool, repo, tmp_path):

    def count(*args):
        """The multiply-adds that it prints, in G."""
        return float(call_tool('get_flops', *args).split()[1])

    index = yaml.safe_load((repo / 'configs/metafile.yml').read_text())
    flops, = (
        model['Metadata']['FLOPs'] for model in index['Models']
        if model['Name'] == 'selfy_tsm_r18_motion')
    config = repo / 'configs/selfy_tsm_r18_motion.py'
    # at 64 x 64, to three digits
    assert count(config) == float(f'{flops / 1e9:.3g}')
    larger = count(config, '--shape', 128, 256)
    assert larger == pytest.approx(8 * flops / 1e9, rel=0.02)
    # A network alone has no size.
    config = tmp_path / 'network.py'
    config.write_text(
        f"_base_ = '{repo}/configs/_base_/models/selfy_tsm_r18_2stages.py'")
    with pytest.raises(SystemExit, match='no train_dataloader, .* --shape'):
        count(config)
    assert count(config, '--shape', 64, 64) > 0
