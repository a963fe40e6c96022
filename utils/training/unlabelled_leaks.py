"""What test clips share with the unlabelled clips of a training."""

from utils.data.leak_finder import LeakFinder
from utils.data.leak_report import short_form
from utils.runs.loading import SplitDataset


def leaks_of_unlabelled(loaded: SplitDataset, group_pattern: str | None, *, fail_on_leak: bool) -> dict | None:
    """Print and return what test clips share with unlabelled clips, for the record; None without unlabelled clips.

    The result lists the files with their fingerprints. With `fail_on_leak`, raises UserError if anything is shared.
    """
    dataset = loaded.dataset
    if not dataset.unlabelled:
        return None
    split = loaded.split  # near-duplicates are found in relation to all seen clips
    found = LeakFinder(dataset).find(split.test, split.train, split.validation, group_pattern=group_pattern)
    found = found.of_unlabelled()
    print(short_form(found.as_dict()))
    if fail_on_leak:
        found.refuse()
    files = [{"path": str(part.frames.path), "arrays": part.fingerprint()} for part in dataset.unlabelled]
    return {"files": files, "leaks": found.as_dict()}
