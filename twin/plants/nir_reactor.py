"""Van de Vusse's reactor behind a near-infrared spectrometer, which carries what the laboratory says once in a while.

Sources: the reactor of `twin.plants.cstr`; the law of Lambert and Beer for a mixture (absorbance: the path length times
the sum over species of concentration times molar absorptivity), with a baseline that drifts and noise of the detector.
The bands of the species, the drift and the noise are ours; B → C and 2 A → D leave species that do not absorb here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax
import numpy as np

from twin.plant import Plant, Role, Tag, element
from twin.plants.base import Disturbance
from twin.plants.cstr import PERIOD_S, Cstr
from twin.plants.cstr import PLANT as SCALARS
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

WAVELENGTHS = np.linspace(1100.0, 2300.0, 96)  # nm
BANDS = {  # nm of the middle, nm of the standard deviation, absorptivity in L / (mol cm): overtones and combinations
    "A": ((1410.0, 60.0, 0.060), (1690.0, 80.0, 0.110), (2130.0, 70.0, 0.160)),
    "B": ((1440.0, 70.0, 0.100), (1740.0, 70.0, 0.080), (2080.0, 90.0, 0.120)),
}
SPECTRUM = "spectrum"


@dataclass(frozen=True)
class _Inside(Cstr):
    """The reactor with both concentrations to read, without noise on them."""

    plant: ClassVar[Plant] = replace(
        SCALARS, tags=(*SCALARS.tags[:3], Tag("reactant", Role.CV, "mol/L"), *SCALARS.tags[3:])
    )
    noise: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.1, 0.1)
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Cstr.disturbances[0],
        Disturbance("feed_concentration", 5.1, 0.35, 3600.0, low=4.0, high=6.2),
    )

    def read(self, state: jax.Array) -> jax.Array:
        return state


@dataclass(frozen=True)
class NirReactor:
    """The reactor, its laboratory and its spectrometer.

    Args:
        laboratory_rows: between two samples of the product.
        laboratory_noise: standard deviation of the laboratory, mol/L.
        frame_rows: between two spectra.
        detector_noise: standard deviation of an absorbance.
        baseline: standard deviation of the wander of the baseline's height and slope, in absorbance.
        path_cm: of the light.
    """

    laboratory_rows: int = 45
    laboratory_noise: float = 0.01
    frame_rows: int = 1
    detector_noise: float = 0.002
    baseline: float = 0.05
    path_cm: float = 1.0
    plant: Plant = field(default=replace(
        SCALARS,
        name="Van de Vusse CSTR with a spectrometer",
        tags=(
            *SCALARS.tags,
            *(
                Tag(element(SPECTRUM, i), Role.OV, "1", description="Absorbance, 1100 to 2300 nm",
                    shape=WAVELENGTHS.shape, vector=SPECTRUM)
                for i in range(len(WAVELENGTHS))
            ),
        ),
    ))  # fmt: skip

    def telemetry(self, rows: int, seed: int = 0) -> tuple[Telemetry, np.ndarray]:
        """So many rows of a step test, and the true concentration of the product (rows,), mol/L."""
        inside = Simulator(_Inside(), seed).excite(rows)
        at = {name: inside.values[:, inside.plant.column(name)] for name in ("reactant", "product")}
        rng = np.random.default_rng((seed, 7))
        product = np.full(rows, np.nan)
        taken = slice(self.laboratory_rows - 1, None, self.laboratory_rows)
        product[taken] = at["product"][taken] + rng.normal(0.0, self.laboratory_noise, len(product[taken]))
        frames = np.full((rows, len(WAVELENGTHS)), np.nan)
        seen = slice(None, None, self.frame_rows)
        frames[seen] = self.spectra(at["reactant"], at["product"], rng)[seen]
        values = np.column_stack([inside.w, product, inside.y[:, 2:], frames])
        return Telemetry(self.plant, inside.times, values, inside.run), at["product"]

    def spectra(self, reactant: np.ndarray, product: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Absorbances (n, wavelengths) at concentrations (n,), mol/L, row by row."""
        pure = {
            name: sum(size * np.exp(-0.5 * ((WAVELENGTHS - middle) / width) ** 2) for middle, width, size in bands)
            for name, bands in BANDS.items()
        }
        clean = self.path_cm * (np.outer(reactant, pure["A"]) + np.outer(product, pure["B"]))
        keep = np.exp(-PERIOD_S / 7200.0)
        kicks = rng.normal(0.0, self.baseline * np.sqrt(1 - keep**2), (len(product), 2))
        wander = np.zeros_like(kicks)
        for row in range(1, len(kicks)):
            wander[row] = keep * wander[row - 1] + kicks[row]
        slope = np.linspace(-1.0, 1.0, len(WAVELENGTHS))
        drifting = wander[:, :1] + wander[:, 1:] * slope
        return clean + drifting + rng.normal(0.0, self.detector_noise, clean.shape)
