"""What the papers report, as numbers read off their figures and tables: drawn beside ours, used for nothing else.

FedCoin is Liu et al. (arXiv:2002.11711), Song is Song, Tong and Wei ("Profit Allocation for Federated Learning", 2019).
"""

from collections.abc import Mapping
from typing import Final

FEDCOIN_VALUES: Final = (0.022, 0.020, 0.0173, 0.015, 0.0083, 0.005, -0.003, -0.0097, -0.0173, -0.0187)
"""FedCoin's Fig. 4: the mean Shapley value of a client of each type, in shares of accuracy."""

FEDCOIN_OWN: Final = (0.89, 0.81, 0.70, 0.62, 0.535, 0.45, 0.375, 0.285, 0.19, 0.10)
"""FedCoin's Fig. 5: the accuracy of a type's own model."""

FEDCOIN_JOINT: Final = 0.475
"""FedCoin's Fig. 5: the accuracy of the model of all 100 clients."""

FEDCOIN_ITERATIONS: Final = (
    (1.0, 40),
    (1.5, 300),
    (1.75, 750),
    (2.0, 1_550),
    (2.25, 2_000),
    (2.5, 2_370),
    (3.0, 2_480),
    (3.46, 2_500),
)
"""FedCoin's Fig. 6: −log₁₀ D, and the iterations until a block."""

SONG_JOINT: Final[Mapping[str, float]] = {
    "same": 0.8170,
    "mix": 0.8392,
    "weight": 0.8101,
    "noisex": 0.7916,
    "noisey": 0.7342,
}
"""Song's v(N) by case: the accuracy of the model of all five clients."""

SONG_ERRORS: Final[Mapping[str, float]] = {"OR": 0.009, "MR": 0.017, "TMC": 0.067, "group testing": 0.24}
"""Song's largest error of each estimator, under NoiseX."""

SONG_SECONDS: Final[Mapping[str, str]] = {
    "exact": "12,400–12,900",
    "OR": "900–1,150",
    "MR": "2,000–2,900",
    "TMC": "3,000–13,500",
}
"""Song's times, in seconds on their machine."""
