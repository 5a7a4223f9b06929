"""Federation: what sites with different plants and little telemetry win by a common model, and what it costs them.

    python tests/benchmarks/federation.py [accuracy] [few] [faults] [privacy] [adapt] [flower ENVIRONMENT]
                                          [--kind cstr] [--noise CLIPS] [--again]

`accuracy`: five quadruple tanks whose parameters are drawn at random (sections, outlets and pumps by up to 30 %,
splits by up to 0.1; with `--kind cstr` five reactors, volume, enthalpies and rates by up to 20 %, heat transfer by 30,
the jacket's capacity by 50), 400 rows each: EASGD, FedAvg and FedProx beside each site alone and beside all rows
pooled, on rows of their own and on two plants that never took part; `few` the same with 200 rows each. Errors are the
RMSE over 60 rows of a free run against the noise-free truth, from a noise-free history, over the site's deviations.
`faults`: a site that falls silent, is late, sends NaN or poison. `privacy`: differential privacy at every site, error
against ε, for the whole model and for its linear part alone in a single round. `adapt`: whole twins of the sites from
the consensus of FedAvg, as `twin federation adapt` makes them, beside twins of their own rows alone. `flower`: three
sites over Flower with TLS and keys, each a process by `twin federation join`, and the bytes on their connections; with
`--noise` all of them private. Runs found in `results/federation.json` are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from support.fleet_units import KINDS, unit

from twin.artifact import Twin
from twin.errors import FederationError
from twin.federation.adapt import adapt
from twin.federation.artifact import Consensus, load
from twin.federation.consensus import Rule
from twin.federation.privacy import epsilon
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.site import Asked, Privacy, Site
from twin.federation.updates import Update
from twin.fleet.common import JUDGED, Common, Unit, local_steps, loss
from twin.fleet.shape import Shape
from twin.forecasting import forecaster
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.correction import recent
from twin.training.folds import spread
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "federation.json"
SITES, STRANGERS, ROWS, FEW, TEST = 5, 2, 400, 200, 1200
ROUNDS, STEPS = 20, 25
FAULTY_ROUNDS = 10
TUNED = (0, 25, 100)  # steps of local training after the federation
REACHED = 0.95  # of what pooling wins
BUDGET_S = 12.0  # of CPU time, a whole twin
DELTA = 1e-5  # that ε is told at
NOISES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0)  # in clips of 1
FIRST = 200  # the first unit of another kind that is a site
KIND = "quadruple_tank"


def plant(number: int) -> QuadrupleTank:
    """A tank of its own."""
    rng, base = np.random.default_rng((11, number)), QuadrupleTank()

    def about(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(v * float(np.exp(rng.uniform(-np.log(1.3), np.log(1.3)))) for v in values)

    split = tuple(v + float(rng.uniform(-0.1, 0.1)) for v in base.split)
    return replace(base, section=about(base.section), outlet=about(base.outlet), pump=about(base.pump), split=split)


class Quiet(QuadrupleTank):
    """Measured without noise."""

    noise: ClassVar[tuple[float, ...]] = (0.0,) * 4


@cache
def rows(number: int, count: int = ROWS) -> tuple[Telemetry, Telemetry]:
    """A site's telemetry, and rows of another step test with the true CVs in their place."""
    if KIND != "quadruple_tank":
        test, truth = unit(KIND, FIRST + number, TEST, 1)
        values = test.values.copy()
        values[:, test.plant.columns(test.plant.cvs)] = truth
        return unit(KIND, FIRST + number, count)[0], replace(test, values=values)
    process = plant(number)
    own, other = Simulator(process, 100 + number), Simulator(Quiet(**vars(process)), 200 + number)
    return own.excite(count), other.excite(TEST)


@cache
def units(number: int, count: int = ROWS) -> tuple[Unit, Unit, Unit, Unit]:
    """All rows, the first three quarters, the last, and the test; in the site's own coordinates."""
    telemetry, test = rows(number, count)
    whole = Unit.of(shape(), telemetry)
    cut = min(3 * count // 4, count - shape().history - shape().horizon - 3)
    parts = (telemetry.rows(slice(cut)), telemetry.rows(slice(cut, None)), test)
    return whole, *(Unit.of(shape(), part, scaler=whole.scaler) for part in parts)


def shape() -> Shape:
    """Of the common model."""
    return Shape.of(KINDS[KIND][0].plant, horizon=60)


def errors(common: Common, numbers: range = range(SITES), count: int = ROWS) -> list[float]:
    """Of each site, on its test."""
    return [loss(common, units(number, count)[3]) for number in numbers]


def strangers(common: Common, count: int = ROWS) -> float:
    """On sites that took no part, whose telemetry only scales them."""
    return float(np.mean(errors(common, range(SITES, SITES + STRANGERS), count)))


Fault = Callable[[int, int, Update], Update | None]


def federate(
    rule: Rule,
    aggregate: str = "mean",
    fault: Fault = lambda *_: None,
    faulty: int = -1,
    privacy: Privacy | None = None,
    rounds: int = ROUNDS,
    count: int = ROWS,
    steps: int = STEPS,
) -> tuple[Common, list[list[float]], list[str]]:
    """The consensus, the errors of each round and what was refused."""
    fresh = Common.fresh(shape())
    names = tuple(f"site{number}" for number in range(SITES))
    sites = [Site(name, fresh, units(i, count)[0], privacy, secret=i) for i, name in enumerate(names)]
    policy = Policy(names, rule, aggregate)
    standing, curve, said = Standing(0, fresh.vector().astype(np.float64)), [errors(fresh, count=count)], []
    for number in range(rounds):
        updates = []
        for i, site in enumerate(sites):
            try:
                update: Update | None = site.answer(standing.consensus, Asked(number, rule, SITES, steps))
            except FederationError as error:  # a consensus, or training from it, that is no numbers any more
                update = None
                said.append(error.detail)
            if i == faulty and update is not None:
                update = fault(i, number, update)
            if update is not None:
                updates.append(update)
        try:
            standing, record = advance(standing, updates, policy)
            said += record.refused.values()
        except FederationError as error:
            said.append(error.detail)
        if rounds == ROUNDS or number == rounds - 1:
            curve.append(errors(fresh.from_vector(standing.consensus), count=count))
    return fresh.from_vector(standing.consensus), curve, said


def tuned(common: Common, count: int) -> dict[str, Any]:
    """Each site's own model from a consensus: as many steps as its last quarter of rows says, then on all of them."""
    found, steps = [], []
    for number in range(SITES):
        whole, first, last, test = units(number, count)
        best = min(TUNED, key=lambda n: loss(local_steps(common, first, n, 0, common, 0.01), last))
        found.append(loss(local_steps(common, whole, best, 0, common, 0.01), test))
        steps.append(best)
    return {"error": float(np.mean(found)), "errors": found, "steps": steps}


def alone(count: int) -> dict[str, Any]:
    """Each site without the others: the linear part alone, or steps as many as its last quarter of rows says."""
    fresh, found, linear, steps = Common.fresh(shape()), [], [], []
    for number in range(SITES):
        whole, first, last, test = units(number, count)
        lengths = (0, 25, 100, 250, 500)
        best = min(lengths, key=lambda n: loss(local_steps(fresh, first, n, 0), last))
        found.append(loss(local_steps(fresh, whole, best, 0), test))
        linear.append(loss(local_steps(fresh, whole, 0, 0), test))
        steps.append(best)
    told = {"linear": float(np.mean(linear)), "steps": steps}
    return {"error": float(np.mean(found)), "errors": found, **told}


def pooled(count: int) -> dict[str, Any]:
    """One model on the rows of all sites, each in its own coordinates, by as many steps as a site takes."""
    grids = [units(number, count)[0].grid for number in range(SITES)]
    joined = [np.concatenate([getattr(grid, name) for grid in grids]) for name in ("y", "w", "mask")]
    run = np.concatenate([grid.run + 1000 * i for i, grid in enumerate(grids)])
    unit = replace(units(0, count)[0], grid=Grid(*joined, run))
    common = Common.fresh(shape())
    for number in range(ROUNDS):
        common = local_steps(common, unit, STEPS, number)
    found = errors(common, count=count)
    told = {"error": float(np.mean(found)), "errors": found, "strangers": strangers(common, count)}
    return told | {"tuned": tuned(common, count)}


def rule(name: str, count: int) -> dict[str, Any]:
    """One rule, all sites well."""
    began = time.process_time()
    common, curve, _ = federate(RULES[name], count=count)
    cpu = time.process_time() - began
    told = {"error": float(np.mean(curve[-1])), "errors": curve[-1], "strangers": strangers(common, count)}
    return told | {
        "curve": [float(np.mean(row)) for row in curve],
        "tuned": tuned(common, count),
        "cpu_s": round(cpu, 1),
    }


RULES = {"easgd": Rule("easgd"), "fedavg": Rule("fedavg"), "fedprox": Rule("fedprox", rho=0.01)}


def late(after: int) -> Fault:
    """A site whose updates come so many rounds after they were asked for."""
    kept: list[Update] = []

    def fault(_: int, number: int, update: Update) -> Update | None:
        kept.append(update)
        return kept[number - after] if number >= after else None

    return fault


FAULTS: dict[str, Fault] = {
    "silent from round 4": lambda _, number, update: update if number < 3 else None,
    "2 rounds late": late(2),
    "NaN": lambda _, __, update: replace(update, change=np.full_like(update.change, np.nan)),
    "poison: -10 times its change": lambda _, __, update: replace(update, change=-10.0 * update.change),
    "poison: noise of 100 times its length": lambda _, number, update: replace(
        update,
        change=100.0
        * float(np.linalg.norm(update.change))
        * np.random.default_rng(number).standard_normal(update.change.size)
        / np.sqrt(update.change.size),
    ),
}


def faulty(name: str, aggregate: str) -> dict[str, Any]:
    """FedAvg with one site of five at fault; errors of the four others."""
    if name == "none":
        _, curve, said = federate(RULES["fedavg"], aggregate, rounds=FAULTY_ROUNDS)
    else:
        if name == "2 rounds late":
            FAULTS[name] = late(2)
        _, curve, said = federate(RULES["fedavg"], aggregate, FAULTS[name], SITES - 1, rounds=FAULTY_ROUNDS)
    others = [float(np.mean(row[: SITES - 1])) for row in curve]
    return {"error": others[-1] if np.isfinite(others[-1]) else None, "said": len(said), "first": said[:1]}


def private(noise: float, rounds: int, steps: int) -> dict[str, Any]:
    """FedAvg of sites that all clip and add noise; without noise they clip alone. Each site's own model from there."""
    privacy = Privacy(clip=1.0, noise=noise, epsilon=float("inf"), delta=DELTA)
    common, curve, said = federate(RULES["fedavg"], privacy=privacy, rounds=rounds, steps=steps)
    error = float(np.mean(curve[-1]))
    told = tuned(common, ROWS) if np.isfinite(error) else {"error": None}
    spent = epsilon(noise, rounds, DELTA) if noise else None
    return {"epsilon": spent, "error": error if np.isfinite(error) else None, "tuned": told["error"], "said": len(said)}


@cache
def _agreed() -> Consensus:
    """FedAvg's, all sites well."""
    common, _, _ = federate(RULES["fedavg"])
    return Consensus("consensus", common.shape, common.vector(), {})


def adapted(number: int) -> dict[str, Any]:
    """A twin of a site from the consensus, and one of its rows alone, by `BUDGET_S` of CPU time each."""
    telemetry, test = rows(number)
    options = Options(budget_s=BUDGET_S)
    found = adapt(_agreed(), telemetry, options=options, clock=time.process_time)
    alone = fit(telemetry, options, clock=time.process_time)
    told = {name: found.card["training"]["common"][name] for name in ("kept", "out_of_fold", "linear")}
    return {"error": _free_run(found, test), "alone": _free_run(alone, test), **told}


def _free_run(twin: Twin, test: Telemetry) -> float:
    """The mean over rows and CVs of the RMSE over the site's deviations, as `loss` has it, from histories alike."""
    grid = Grid.of(test, twin.scaler)
    ends, share = spread(grid.ends(shape().history, shape().horizon), JUDGED), twin.corrections
    windows, whole = recent(grid, ends, twin.history)
    future = grid.future(ends, shape().horizon)
    y = jax.jit(jax.vmap(lambda a, b, w: forecaster(twin.dynamics, a, b, share)(w)))(windows, whole, future.w)
    return float(np.sqrt(((np.asarray(y) - future.y) ** 2).mean(axis=0)).mean())


AGGREGATES = ("mean", "clipped_mean", "median", "krum")
CASES = [
    *(("none", aggregate) for aggregate in AGGREGATES),
    *((name, "clipped_mean") for name in list(FAULTS)[:3]),
    *((name, how) for name in list(FAULTS)[3:] for how in AGGREGATES),
]


class Counter:
    """A connection passed on, its bytes counted: what a site sends and gets, TLS and all."""

    def __init__(self, port: int) -> None:
        self.sent = self.got = 0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            inward, _ = self._listener.accept()
            try:
                outward = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                inward.close()
                continue
            for a, b, up in ((inward, outward, True), (outward, inward, False)):
                threading.Thread(target=self._pass, args=(a, b, up), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket, up: bool) -> None:
        try:
            while data := a.recv(1 << 16):
                b.sendall(data)
                if up:
                    self.sent += len(data)
                else:
                    self.got += len(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            b.close()


def over_flower(environment: Path, noise: float | None = None, rounds: int = 2) -> dict[str, Any]:
    """Three sites by `twin federation`, each a process, through a counter of bytes."""
    names = ("site0", "site1", "site2")
    twin = [sys.executable, "-m", "api.cli.main", "federation"]
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as probe:
        folder = Path(scratch)
        made = [*twin, "keys", str(folder / "keys"), "--flower", str(environment)]
        subprocess.run([*made, *(part for name in names for part in ("--site", name))], check=True)
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        form = shape()
        tags = [{"name": tag.name, "role": str(tag.role), "unit": tag.unit} for tag in KINDS[KIND][0].plant.tags]
        listed = ", ".join("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in tag.items()) + "}" for tag in tags)
        lines = [
            f'[server]\nport = {port}\nfolder = "server"\nflower = "{environment}"\n[sites]',
            *(f'{name} = "keys/{name}.pub"' for name in names),
            f"[rounds]\ncount = {rounds}\nsteps = {STEPS}\nwait_s = 240",
            f"[model]\nsample_period_s = {form.sample_period_s:g}\nhorizon = {form.horizon}\ntags = [{listed}]\n",
        ]
        (folder / "fed.toml").write_text("\n".join(lines))
        counters, processes = {name: Counter(port) for name in names}, []
        began = time.monotonic()
        for number, name in enumerate(names):
            telemetry, _ = rows(number)
            telemetry.frame().to_csv(folder / f"{name}.csv")
            (folder / f"{name}.json").write_text(json.dumps(telemetry.plant.to_json()))
            told = [f'[site]\nname = "{name}"\nserver = "127.0.0.1:{counters[name].port}"\nkey = "keys/{name}.key"']
            told += [f'folder = "{name}"\nflower = "{environment}"\nplant = "{name}.json"\ntelemetry = ["{name}.csv"]']
            if noise is not None:
                told += [f"[privacy]\nclip = 1.0\nnoise = {noise:g}\nepsilon = 1e12\ndelta = {DELTA:g}"]
            (folder / f"{name}.toml").write_text("\n".join(told))
        server = subprocess.Popen([*twin, "serve", str(folder / "fed.toml")], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        print(server.stdout.readline(), end="")  # it is there
        threading.Thread(target=lambda: print(server.stdout.read()), daemon=True).start()
        processes = [subprocess.Popen([*twin, "join", str(folder / f"{name}.toml")]) for name in names]
        code = server.wait(340)
        wall = time.monotonic() - began
        for process in processes:
            process.terminate() if process.poll() is None and code else process.wait(60)
        found = load(folder / "server" / "consensus.safetensors")
        return {
            "rounds": len(found.card["rounds"]),
            "parameters": len(found.vector),
            "vector_bytes": 4 * len(found.vector),
            "sent": {name: counter.sent for name, counter in counters.items()},
            "got": {name: counter.got for name, counter in counters.items()},
            "losses": [record["loss"] for record in found.card["rounds"]],
            "wall_s": round(wall, 1),
            "exit": code,
        }


def reached(curve: list[float], best: float) -> int | None:
    """Rounds until the mean error has come `REACHED` of the way from the start to that of the pooled rows."""
    aim = curve[0] - REACHED * (curve[0] - best)
    return next((number for number, error in enumerate(curve) if error <= aim), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["accuracy", "faults"])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--kind", default=KIND, choices=list(KINDS))
    parser.add_argument("--noise", type=float, help="of every site over Flower, in clips")
    asked = parser.parse_args()
    globals()["KIND"] = asked.kind
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def run(name: str, case: Callable[[], dict[str, Any]]) -> None:
        name = _of_kind() + name
        if name in found and not asked.again:
            return
        made = case()
        found.update(json.loads(RESULTS.read_text()) if RESULTS.exists() else {})  # of runs beside this one
        found[name] = made
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: {json.dumps({k: v for k, v in found[name].items() if k not in ('curve', 'errors')})}")

    for what, count in (("accuracy", ROWS), ("few", FEW)):
        if what in asked.what:
            run(_key("alone", count), lambda count=count: alone(count))
            run(_key("pooled", count), lambda count=count: pooled(count))
            for name in RULES:
                run(_key(name, count), lambda name=name, count=count: rule(name, count))
    if "faults" in asked.what:
        for name, aggregate in CASES:
            run(f"{name}; {aggregate}", lambda name=name, aggregate=aggregate: faulty(name, aggregate))
    if "privacy" in asked.what:
        for rounds, steps in ((FAULTY_ROUNDS, STEPS), (1, 0)):
            for noise in NOISES:
                run(f"privacy, {rounds} rounds of {steps}, noise {noise:g}", partial(private, noise, rounds, steps))
    if "adapt" in asked.what:
        for number in range(SITES):
            run(f"adapt, site {number}", partial(adapted, number))
    if "flower" in asked.what:
        environment = Path(asked.what[asked.what.index("flower") + 1])
        name = "flower" if asked.noise is None else f"flower, noise {asked.noise:g}"
        run(name, lambda: over_flower(environment, asked.noise))
    table({name.removeprefix(_of_kind()): row for name, row in found.items() if name.startswith(_of_kind())})


def _of_kind() -> str:
    """Before the names of runs of another kind than tanks."""
    return "" if KIND == "quadruple_tank" else f"{KIND}: "


def _key(name: str, count: int) -> str:
    return name if count == ROWS else f"{name}, {count} rows"


def table(found: dict[str, Any]) -> None:
    """All there is."""
    for count in (ROWS, FEW):
        print(f"\n{os.cpu_count()} cores; {SITES} sites of {count} rows, {ROUNDS} rounds of {STEPS} steps")
        print(f"{'':12} {'sites':>8} {'tuned':>8} {'new':>8} {'rounds to 95 %':>15}")
        best = found.get(_key("pooled", count), {}).get("error", float("nan"))
        for name in ("alone", "pooled", *RULES):
            if _key(name, count) not in found:
                continue
            row = found[_key(name, count)]
            tuned_, new = row.get("tuned", {}).get("error", float("nan")), row.get("strangers", float("nan"))
            to = reached(row["curve"], best) if "curve" in row else None
            print(f"{name:12} {row['error']:8.4f} {tuned_:8.4f} {new:8.4f} {'-' if to is None else to:>15}")
    print(f"\n{'one of five sites at fault, FedAvg':55} {'others':>9} {'refusals':>9}")
    for name, aggregate in CASES:
        if f"{name}; {aggregate}" in found:
            row = found[f"{name}; {aggregate}"]
            error = "no number" if row["error"] is None else f"{row['error']:.4f}"
            print(f"{f'{name}; {aggregate}':55} {error:>9} {row['said']:9}")
    whole = [row for name, row in found.items() if name.startswith("adapt")]
    if whole:
        of, alone = (float(np.mean([row[who] for row in whole])) for who in ("error", "alone"))
        print(f"\nwhole twins of {len(whole)} sites: from the consensus {of:.4f}, of their rows alone {alone:.4f}")
    print(f"\n{'differential privacy, clip 1':36} {'epsilon':>10} {'sites':>9} {'tuned':>9}")
    for name, row in found.items():
        if name.startswith("privacy"):
            figures = [row[key] for key in ("epsilon", "error", "tuned")]
            spent, error, own = ("-" if figure is None else f"{figure:.4g}" for figure in figures)
            print(f"{name.removeprefix('privacy, '):36} {spent:>10} {error:>9} {own:>9}")
    for name, row in found.items():
        if name.startswith("flower"):
            print(f"\nover {name}: {json.dumps(row)}")


if __name__ == "__main__":
    main()
