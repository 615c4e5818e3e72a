"""Dumps as a test writes them."""
import torch
from mmaction.structures import ActionDataSample

from selfy_mmaction.evaluation.metrics import DumpScores


def write_dump(path,
               scores,
               labels,
               files=None,
               key='filename',
               classes=None,
               kind='probabilities',
               **meta):
    """Make the metric of a test write its predictions.

    Args:
        path (os.PathLike): The file.
        scores (Sequence): The scores of each sample.
        labels (Sequence): Its label or labels.
        files (Sequence[str], optional): Where each sample is.
        key (str): What samples call that.
        classes (Sequence[str], optional): What the data set calls them.
        kind (str): What the scores are.
        **meta: What else each sample tells.
    """
    metric = DumpScores(str(path), kind)
    metric.dataset_meta = dict(classes=classes) if classes else {}
    for i, (score, label) in enumerate(zip(scores, labels, strict=True)):
        sample = ActionDataSample().set_gt_label(label).set_pred_score(
            torch.as_tensor(score))
        sample.set_metainfo(dict({key: files[i]} if files else {}, **meta))
        metric.process(None, [sample.to_dict()])
    metric.evaluate(len(labels))
    return path
