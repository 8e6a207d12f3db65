"""The formulas of the scores of yes-or-no forecasts, over any number of contingency tables at once.

Where a formula divides by zero, its score is undefined: nan, and never taken for 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.verification.contingency_tables import Counts, divide


def accuracy(counts: Counts) -> NDArray[np.float64]:
    """Compute the accuracy: the fraction of forecasts that were right.

    ``(TP + TN) / N``; from 0 to 1, perfect 1. Where flares are rare, "never" scores high (Finley's case: 0.98).

    References
    ----------
    Wilks, Statistical Methods in the Atmospheric Sciences (2011), section 8.2.
    """
    return divide(counts.tp + counts.tn, counts.num_samples)


def probability_of_detection(counts: Counts) -> NDArray[np.float64]:
    """Compute the fraction of flares that were forecast: probability of detection, recall, hit rate.

    ``TP / (TP + FN)``; from 0 to 1, perfect 1; undefined without flares.

    References
    ----------
    Wilks (2011), section 8.2.
    """
    return divide(counts.tp, counts.tp + counts.fn)


def precision(counts: Counts) -> NDArray[np.float64]:
    """Compute the fraction of forecast flares that came: precision, success ratio.

    ``TP / (TP + FP)``; from 0 to 1, perfect 1; undefined where no flare was forecast.

    References
    ----------
    Wilks (2011), section 8.2.
    """
    return divide(counts.tp, counts.tp + counts.fp)


def false_alarm_ratio(counts: Counts) -> NDArray[np.float64]:
    """Compute the fraction of forecast flares that did not come: false alarm ratio.

    ``FP / (TP + FP)``; from 0 to 1, perfect 0; undefined where no flare was forecast. A ratio to forecasts, not the
    false alarm rate ``FP / (FP + TN)``.

    References
    ----------
    Barnes et al., Weather and Forecasting 24 (2009), 1452, on the two names.
    """
    return divide(counts.fp, counts.tp + counts.fp)


def critical_success_index(counts: Counts) -> NDArray[np.float64]:
    """Compute hits as a fraction of hits, misses and false alarms: critical success index, threat score.

    ``TP / (TP + FP + FN)``; from 0 to 1, perfect 1; undefined where there were none of either.

    References
    ----------
    Gilbert, American Meteorological Journal 1 (1884), 166.
    """
    return divide(counts.tp, counts.tp + counts.fp + counts.fn)


def f1_score(counts: Counts) -> NDArray[np.float64]:
    """Compute the harmonic mean of precision and probability of detection.

    ``2 TP / (2 TP + FP + FN)``; from 0 to 1, perfect 1; undefined where no flare was forecast and none came.

    References
    ----------
    van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    return divide(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def heidke_skill_score(counts: Counts) -> NDArray[np.float64]:
    """Compute how much better than chance the accuracy is: Heidke skill score.

    ``2 (TP TN - FP FN) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN))``; from -1 to 1, perfect 1, no skill 0; undefined
    where all forecasts and all outcomes are of one class.

    References
    ----------
    Heidke, Geografiska Annaler 8 (1926), 301; the HSS2 of Bobra and Couvidat, ApJ 798 (2015), 135.
    """
    c = counts
    return divide(2 * (c.tp * c.tn - c.fp * c.fn), (c.tp + c.fn) * (c.fn + c.tn) + (c.tp + c.fp) * (c.fp + c.tn))


def true_skill_statistic(counts: Counts) -> NDArray[np.float64]:
    """Compute POD minus POFD: true skill statistic, Peirce skill score.

    ``TP / (TP + FN) - FP / (FP + TN)``; from -1 to 1, perfect 1, no skill 0; undefined without flares, or with nothing
    else. It does not depend on how rare flares are.

    References
    ----------
    Peirce, Science 4 (1884), 453; Bloomfield et al., ApJ Letters 747 (2012), L41.
    """
    return divide(counts.tp, counts.tp + counts.fn) - divide(counts.fp, counts.fp + counts.tn)


def false_alarm_rate(counts: Counts) -> NDArray[np.float64]:
    """Compute the fraction of quiet times with a flare forecast: false alarm rate, probability of false detection.

    ``FP / (FP + TN)``; from 0 to 1, perfect 0; undefined where a flare came every time.

    References
    ----------
    Barnes et al., Weather and Forecasting 24 (2009), 1452.
    """
    return divide(counts.fp, counts.fp + counts.tn)


def frequency_bias(counts: Counts) -> NDArray[np.float64]:
    """Compute the number of flares forecast per flare that came: frequency bias.

    ``(TP + FP) / (TP + FN)``; from 0, perfect 1, above 1 too many; undefined without flares.

    References
    ----------
    Wilks (2011), section 8.2; the FB of Leka et al., ApJ Supplement 243 (2019), 36.
    """
    return divide(counts.tp + counts.fp, counts.tp + counts.fn)


def equitable_threat_score(counts: Counts) -> NDArray[np.float64]:
    """Compute the critical success index beyond chance: equitable threat score, Gilbert skill score.

    ``(TP - C) / (TP + FP + FN - C)`` with the hits by chance ``C = (TP + FP)(TP + FN) / N``; from -1/3 to 1, perfect 1,
    no skill 0; undefined where all forecasts and all outcomes are of one class.

    References
    ----------
    Gilbert, American Meteorological Journal 1 (1884), 166; Schaefer, Weather and Forecasting 5 (1990), 570.
    """
    c, num_samples = counts, counts.num_samples
    chance = (c.tp + c.fp) * (c.tp + c.fn)
    return divide(c.tp * num_samples - chance, (num_samples - c.tn) * num_samples - chance)


def appleman_skill_score(counts: Counts) -> NDArray[np.float64]:
    """Compute the fraction of errors avoided against always forecasting the commoner outcome: Appleman skill score.

    ``1 - (FP + FN) / min(TP + FN, FP + TN)``; from below, perfect 1, "never a flare" 0 where flares are rare; undefined
    where a flare came always or never.

    References
    ----------
    Barnes et al., ApJ 829 (2016), 89, section 3.2; Leka et al., ApJ Supplement 243 (2019), 36.
    """
    return 1 - divide(counts.fp + counts.fn, np.minimum(counts.tp + counts.fn, counts.fp + counts.tn))


def matthews_correlation(counts: Counts) -> NDArray[np.float64]:
    """Compute the correlation of forecasts and outcomes, each 0 or 1: Matthews correlation, phi coefficient.

    ``(TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN))``; from -1 to 1, perfect 1, no skill 0; undefined
    where the forecasts, or the outcomes, are all of one class.

    References
    ----------
    Matthews, Biochimica et Biophysica Acta 405 (1975), 442.
    """
    c = counts
    forecasts, outcomes = (c.tp + c.fp) * (c.tn + c.fn), (c.tp + c.fn) * (c.tn + c.fp)
    return divide(c.tp * c.tn - c.fp * c.fn, np.sqrt(forecasts) * np.sqrt(outcomes))
