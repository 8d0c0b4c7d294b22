"""How many users a test needs."""

from math import ceil, sqrt

from scipy.special import nctdtr, stdtrit


def power_of(
    effect: float, n_users: float, variance_control: float, variance_treatment: float, *, share: float, alpha: float
) -> float:
    """The chance that a two-sided t-test at alpha sees this effect with n users in all, `share` of them treated.

    Variances are of one user's value (for a ratio: of its linearized value). Noncentral t (Cohen 1988).
    """
    error = sqrt(variance_control / (n_users * (1 - share)) + variance_treatment / (n_users * share))
    degrees, shift = n_users - 2, abs(effect) / error
    q = float(stdtrit(degrees, 1 - alpha / 2))
    return float(1 - nctdtr(degrees, shift, q) + nctdtr(degrees, shift, -q))


def users_needed(
    effect: float,
    variance_control: float,
    variance_treatment: float,
    *,
    share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Users in all for that power; None when the effect is 0, since no number is enough."""
    if not effect:
        return None
    low, high = 3.0, 6.0

    def reached(n: float) -> bool:
        return power_of(effect, n, variance_control, variance_treatment, share=share, alpha=alpha) >= power

    if variance_control + variance_treatment <= 0 or reached(low):
        return ceil(low)
    while not reached(high):
        low, high = high, high * 2
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return ceil(high)
