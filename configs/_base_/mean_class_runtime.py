# For data sets whose main metric is the mean per-class accuracy: it selects
# the best checkpoint.
_base_ = 'default_runtime.py'

default_hooks = dict(checkpoint=dict(save_best='acc/mean1', rule='greater'))
