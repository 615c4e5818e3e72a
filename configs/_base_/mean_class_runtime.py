# For data sets whose headline is the mean per-class accuracy: it picks the
# best checkpoint.
_base_ = 'default_runtime.py'

default_hooks = dict(checkpoint=dict(save_best='acc/mean1', rule='greater'))
