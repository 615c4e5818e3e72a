# The recipe of Something-Something for videos whose classes a flip leaves what
# they are.
_base_ = 'sthv2.py'

_base_.train_dataloader.dataset.pipeline[6] = dict(type='Flip', flip_ratio=0.5)
del _base_['left_right_classes']
