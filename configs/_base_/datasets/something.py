# Something-Something, both versions: the official recipe, which does not flip
# some classes.
_base_ = 'videos.py'

from selfy_mmaction.datasets.recipes import find_step

# A flip would turn these into their opposites.
left_right_classes = [
    'Pulling something from left to right',
    'Pulling something from right to left',
    'Pushing something from left to right',
    'Pushing something from right to left',
    'Turning the camera left while filming something',
    'Turning the camera right while filming something'
]

find_step(_base_.train_dataloader.dataset.pipeline, 'Flip').update(
    type='SelectiveFlip', frozen_classes=left_right_classes)
