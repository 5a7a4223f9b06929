"""The polynomial backbone: a polynomial in the last rows says by how much the CVs move (polynomial NARX).

    y' = y + T[z, …, z]        z = [1, M [v, w'] + m],  T[z, …, z] = sum of T_ij… z_i z_j …

v are the CVs and inputs of the last rows, held within the ranges seen, as powers grow fast beyond them: a row's move
stays below a bound however far a rollout goes. z are the last values and their differences, row by row, of unit size.
(Billings, Nonlinear System Identification, 2013, 2.2.)
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from twin.windows import Window


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Polynomial:
    """A polynomial world model whose state is v (n,) (a pytree; follows `dynamics.base.Dynamics`).

    Attributes:
        table: (CVs, 1 + entries, …) T, an axis a degree.
        mix: (entries, n + inputs) M.
        shift: (entries,) m.
        low, high: (n + inputs,) the ranges of v and of the inputs to come.
        window: (n,) int32, where v stands in a window's rows, oldest first, each its CVs and then its inputs.
        after: (n,) int32, where the next v stands in [y', w', v].
    """

    table: jax.Array
    mix: jax.Array
    shift: jax.Array
    low: jax.Array
    high: jax.Array
    window: jax.Array
    after: jax.Array

    def encode(self, window: Window) -> jax.Array:
        """The state (n,) at the last row of the window (L, ·); its first entries are that row's CVs."""
        rows = jnp.concatenate([jnp.asarray(window.y), jnp.asarray(window.w)], axis=-1)
        return rows.reshape(-1)[self.window]

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """The state (n,) one row later, under that row's inputs w (inputs,)."""
        z = self.mix @ jnp.clip(jnp.concatenate([state, w]), self.low, self.high) + self.shift
        z, move = jnp.concatenate([jnp.ones(1), z]), self.table
        while move.ndim > 1:
            move = move @ z
        return jnp.concatenate([self.read(state) + move, w, state])[self.after]

    def read(self, state: jax.Array) -> jax.Array:
        """The CVs (CVs,) of the state's row."""
        return state[: self.table.shape[0]]

    def shape(self) -> dict[str, int]:
        """What `empty` needs beside members and tags, of several members stacked: JSON."""
        degree, entries = self.table.ndim - 2, self.mix.shape[-2]
        return {"degree": degree, "entries": entries, "states": self.window.shape[-1]}

    @classmethod
    def empty(cls, members: int, cvs: int, inputs: int, degree: int, entries: int, states: int) -> Polynomial:
        """Zeros in place of the arrays of several members, a leading axis (members,)."""
        columns = states + inputs
        return cls(
            table=jnp.zeros((members, cvs, *[1 + entries] * degree)),
            mix=jnp.zeros((members, entries, columns)),
            shift=jnp.zeros((members, entries)),
            low=jnp.zeros((members, columns)),
            high=jnp.zeros((members, columns)),
            window=jnp.zeros((members, states), jnp.int32),
            after=jnp.zeros((members, states), jnp.int32),
        )
