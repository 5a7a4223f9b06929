"""The world model a twin ships: a few nested members (backbone and JEPA residual), averaged.

    y     = mean over members of  y_lin + gate · (y_base + c − y_lin)
    y_lin = linear model of the plant + noise model
    y_base = polynomial model of the plant, or y_lin where there is none

What is learned beyond the linear model counts by the gate: in full inside of the trained region, less outside. Where
a part does not pay it is missing, and its states are empty: z without residual, p without polynomial, n without noise
model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.jepa import Jepa, Sizes
from twin.dynamics.lti import Lti
from twin.dynamics.noise import Noise
from twin.dynamics.polynomial import Polynomial
from twin.dynamics.region import Region
from twin.windows import Window


class State(NamedTuple):
    """The state of all members.

    x, z and p may be shifted by a constant (an estimated disturbance) between steps; the gate is one number a
    scenario, is carried unchanged and must not be shifted.

    Attributes:
        x: (members, n) of the backbones.
        z: (members, latent + CVs) of the residuals; (members, 0) without.
        gate: () in [0, 1]: the share that counts of what is learned beyond the linear model.
        n: (members, J, CVs) the modes of the noise models; (members, 0, CVs) without.
        p: (members, m) of the polynomials; (members, 0) without.
    """

    x: jax.Array
    z: jax.Array
    gate: jax.Array
    n: jax.Array
    p: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ensemble:
    """The mean of its members (a pytree; follows `dynamics.base.Dynamics`).

    Attributes:
        backbones: an `Lti` whose arrays have a leading axis (members,).
        residuals: a `Jepa` likewise, or None: the backbones alone.
        region: where it was trained.
        noise: a `Noise` whose arrays have a leading axis (members,), or None.
        polynomials: a `Polynomial` likewise, or None: residuals are around the linear models.
        earned: () the share that what is learned has lately earned (`twin.lookback`), over what the region leaves it.
    """

    backbones: Lti
    residuals: Jepa | None
    region: Region
    noise: Noise | None = None
    polynomials: Polynomial | None = None
    earned: jax.Array = field(default_factory=lambda: jnp.ones(()))

    @property
    def linear(self) -> Ensemble:
        """What counts where the gate is shut: the linear models with their noise models."""
        return replace(self, residuals=None, polynomials=None)

    @property
    def is_linear(self) -> bool:
        """Whether CVs are linear in the inputs to come."""
        return self.residuals is None and self.polynomials is None

    @property
    def members(self) -> int:
        return int(self.backbones.a.shape[0])

    def begin(self, window: Window, w: jax.Array) -> State:
        """The state at the last row of the window (L, ·), gated for a scenario with inputs w (K, inputs)."""
        return self.encode(window)._replace(gate=self.gate(window, w))

    def gate(self, window: Window, w: jax.Array) -> jax.Array:
        """() in [0, 1]: what counts of what is learned, for a scenario with inputs w (K, inputs)."""
        return self.earned * self.region.gate(window, w)

    def encode(self, window: Window) -> State:
        """The state at the last row of the window (L, ·) with the gate fully open."""
        x = jax.vmap(lambda backbone: backbone.encode(window))(self.backbones)
        n, z = jnp.zeros((self.members, 0, self.backbones.c.shape[1])), jnp.zeros((self.members, 0))
        p = z
        if self.noise is not None:
            n = jax.vmap(lambda noise: noise.encode(window))(self.noise)
        if self.residuals is not None:
            z = jax.vmap(lambda residual: residual.encode(window))(self.residuals)
        if self.polynomials is not None:
            p = jax.vmap(lambda polynomial: polynomial.encode(window))(self.polynomials)
        return State(x, z, jnp.ones(()), n, p)

    def step(self, state: State, w: jax.Array) -> State:
        """The state one row later, under that row's inputs w (inputs,)."""
        x = jax.vmap(lambda backbone, x: backbone.step(x, w))(self.backbones, state.x)
        state = state._replace(x=x)
        if self.noise is not None:
            state = state._replace(n=jax.vmap(Noise.step)(self.noise, state.n))
        if self.polynomials is not None:
            p = jax.vmap(lambda polynomial, p: polynomial.step(p, w))(self.polynomials, state.p)
            state = state._replace(p=p)
        if self.residuals is None:
            return state

        def member(residual: Jepa, z: jax.Array, y: jax.Array) -> jax.Array:
            return residual.step(z, residual.drive(y, w))

        return state._replace(z=jax.vmap(member)(self.residuals, state.z, self._base(state)))

    def read(self, state: State) -> jax.Array:
        """The CVs (CVs,) of the state's row: the members' mean."""
        return self.read_members(state).mean(axis=0)

    def read_members(self, state: State) -> jax.Array:
        """(members, CVs): what each member says."""
        y = self._linear(state)
        beyond = self._base(state) - y
        if self.residuals is not None:
            beyond = beyond + jax.vmap(Jepa.correction)(self.residuals, state.z)
        return y + state.gate * beyond

    def roll(self, state: State, w: jax.Array, drift: State | None = None) -> jax.Array:
        """CVs (K, CVs) that follow a state under inputs w (K, inputs): `rollout`, in fewer operations a row."""
        return self.roll_members(state, w, drift).mean(axis=1)

    def roll_members(self, state: State, w: jax.Array, drift: State | None = None) -> jax.Array:
        """(K, members, CVs): what each member says of all rows.

        Only what depends on the row before goes row by row: first the backbones, then, driven by them, the residuals.
        Their readouts are taken of all rows at once.

        Args:
            drift: what is added to the state behind each step (`dynamics.offset_free`); its gate does not count.
        """
        off = jax.tree.map(jnp.zeros_like, state) if drift is None else drift

        def base(carry: tuple, w: jax.Array) -> tuple[tuple, tuple]:
            x, n, p = carry
            x = jax.vmap(lambda backbone, x: backbone.step(x, w))(self.backbones, x) + off.x
            n = n if self.noise is None else jax.vmap(Noise.step)(self.noise, n) + off.n
            if self.polynomials is not None:
                p = jax.vmap(lambda polynomial, p: polynomial.step(p, w))(self.polynomials, p) + off.p
            return (x, n, p), (x, n, p)

        x, n, p = jax.lax.scan(base, (state.x, state.n, state.p), w)[1]

        def read(x: jax.Array, n: jax.Array, p: jax.Array) -> tuple[jax.Array, jax.Array]:
            row = state._replace(x=x, n=n, p=p)
            return self._linear(row), self._base(row)

        y, around = jax.vmap(read)(x, n, p)
        residuals = self.residuals
        if residuals is None:
            return y + state.gate * (around - y)
        stepped = around - self._base(off, constant=False)[None]
        inputs = jnp.broadcast_to(w[:, None], (*y.shape[:2], w.shape[1]))
        pushed = jax.vmap(Jepa.drive, (0, 1, 1), 1)(residuals, stepped, inputs)

        def latent(z: jax.Array, drive: jax.Array) -> tuple[jax.Array, jax.Array]:
            z = jax.vmap(Jepa.step)(residuals, z, drive) + off.z
            return z, z

        z = jax.lax.scan(latent, state.z, pushed)[1]
        return y + state.gate * (around - y + jax.vmap(Jepa.correction, (0, 1), 1)(residuals, z))

    def _linear(self, state: State, constant: bool = True) -> jax.Array:
        """(members, CVs); of a shift of the state without the `constant` of the readout."""
        y = jax.vmap(lambda backbone, x: backbone.C @ x)(self.backbones, state.x) + state.n.sum(axis=1)
        return y + self.backbones.c if constant else y

    def _base(self, state: State, constant: bool = True) -> jax.Array:
        """(members, CVs) what residuals are around."""
        if self.polynomials is None:
            return self._linear(state, constant)
        return jax.vmap(Polynomial.read)(self.polynomials, state.p)

    def architecture(self) -> dict[str, Any]:
        """What `skeleton` needs to lay out the arrays of this ensemble again: JSON."""
        _, states, inputs = self.backbones.B.shape
        cvs, columns = self.backbones.C.shape[1], self.backbones.E.shape[2]
        sizes = Sizes(cvs, inputs, columns // (cvs + inputs))
        return {
            "members": self.members,
            "states": states,
            "residual": self.residuals is not None,
            "modes": 0 if self.noise is None else int(self.noise.decay.shape[1]),
            "polynomial": None if self.polynomials is None else self.polynomials.shape(),
            "sizes": asdict(sizes),
        }


def skeleton(architecture: dict[str, Any]) -> Ensemble:
    """An ensemble of that architecture with shapes in place of arrays (`jax.ShapeDtypeStruct`)."""
    sizes, members, n = Sizes(**architecture["sizes"]), architecture["members"], architecture["states"]
    cvs, inputs = sizes.cvs, sizes.inputs

    def empty() -> Ensemble:
        shapes = {"A": (n, n), "B": (n, inputs), "a": (n,), "C": (cvs, n), "c": (cvs,), "e": (n,)}
        shapes["E"] = (n, sizes.history * (cvs + inputs))
        backbones = Lti(**{name: jnp.zeros((members, *shape)) for name, shape in shapes.items()})
        d, modes = cvs + 2 * inputs, architecture.get("modes", 0)
        decay = jnp.zeros((members, modes, cvs))
        noise = Noise(decay, jnp.zeros((*decay.shape, shapes["E"][1])), decay) if modes else None
        residuals = jepas(sizes, members, seed=0) if architecture["residual"] else None
        shape = architecture.get("polynomial")
        polynomials = None if shape is None else Polynomial.empty(members, cvs, inputs, **shape)
        return Ensemble(backbones, residuals, Region(jnp.zeros(d), jnp.zeros((d, d))), noise, polynomials)

    return jax.eval_shape(empty)


def arrays(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Every array of the ensemble by its path, such as "backbones.A", but for what it has `earned`."""
    leaves = jax.tree_util.tree_leaves_with_path(ensemble)
    found = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
    return {name: array for name, array in found.items() if name != "earned"}


def assemble(architecture: dict[str, Any], tensors: dict[str, np.ndarray]) -> Ensemble:
    """The ensemble of that architecture with these arrays.

    Raises:
        ValueError: an array is missing, unknown or of another shape.
    """
    one = np.ones((), np.float32)
    tensors = {"region.reach": one, "earned": one, **tensors}  # twins of before have no reach
    shapes, tree = jax.tree_util.tree_flatten_with_path(skeleton(architecture))
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in shapes]
    if set(names) != set(tensors):
        raise ValueError(f"arrays do not fit the architecture: {sorted(set(names) ^ set(tensors))[:3]}")
    for name, (_, leaf) in zip(names, shapes, strict=True):
        if tensors[name].shape != leaf.shape or tensors[name].dtype != leaf.dtype:
            raise ValueError(f"{name} is {tensors[name].dtype}{tensors[name].shape}, not {leaf.dtype}{leaf.shape}")
    return jax.tree_util.tree_unflatten(tree, [jnp.asarray(tensors[name]) for name in names])


def jepas(sizes: Sizes, members: int, seed: int) -> Jepa:
    """`members` freshly drawn residuals, stacked along a leading axis."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda *a: jnp.stack(a), *(Jepa(sizes, rng) for _ in range(members)))
