"""Typical mistakes in the exercises of the chapter on other industries."""

import torch


def rate(frames):
    return sum(frames) / len(frames)


def damage_as_well(kinds, labels):
    says = [bool(k - {"flange"}) for k in kinds]
    return rate([s == (v == "before") for s, v, k in zip(says, labels, kinds, strict=True) if k])


def only_before(kinds, labels):
    return rate(["foreign" in k for k, v in zip(kinds, labels, strict=True) if k and v == "before"])


def after_is_right(kinds, labels):
    pairs = [(k, v) for k, v in zip(kinds, labels, strict=True) if k]
    return rate([v == "after" or "foreign" in k for k, v in pairs])


def empty_counts(kinds, labels):
    pairs = zip(kinds, labels, strict=True)
    return rate([("foreign" in k) == (v == "before") for k, v in pairs])


def auc(bad, good):
    wins = (bad[:, None] > good).float() + 0.5 * (bad[:, None] == good).float()
    return float(wins.mean())


def in_their_order(bad, good):
    count = min(len(bad), len(good))
    return float((bad[:count] > good[:count]).float().mean())


def ties_are_lost(bad, good):
    return float((bad[:, None] > good).float().mean())


def thresholds_to_one(bad, good):
    levels = torch.linspace(1, 0, 1001)
    hits, alarms = ((v >= levels[:, None]).double().mean(1) for v in (bad, good))
    return float(torch.trapezoid(hits, alarms))


def lower_tail(sound, damaged, share):
    level = sound.quantile(share)
    return level, (damaged > level).float().mean()


def all_parts(sound, damaged, share):
    level = torch.cat([sound, damaged]).quantile(1 - share)
    return level, (damaged > level).float().mean()


def precision(sound, damaged, share):
    level = sound.quantile(1 - share)
    caught, wrong = (damaged > level).sum(), (sound > level).sum()
    return level, caught / (caught + wrong)


def one_in_twenty(sound, damaged, share):
    level = sound.quantile(0.95)
    return level, (damaged > level).float().mean()


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "parts.rule": {
        "foreign-alone": damage_as_well,
        "both-cameras": only_before,
        "inspector-misses": after_is_right,
        "empty-line": empty_counts,
    },
    "parts.auc": {
        "direction": lambda bad, good: auc(good, bad),
        "every-pair": in_their_order,
        "ties": ties_are_lost,
        "any-scale": thresholds_to_one,
    },
    "parts.level": {
        "upper-tail": lower_tail,
        "sound-decides": all_parts,
        "share-caught": precision,
        "any-share": one_in_twenty,
    },
}
