"""The examples of the OpenAPI document. A test sends each of them to a running service."""

from __future__ import annotations

from typing import Any

PLANT: dict[str, Any] = {
    "name": "Two pumps, two tanks",
    "sample_period_s": 5.0,
    "tags": [
        {"name": "pump_1", "role": "mv", "unit": "V", "low": 0.5, "high": 4.0, "rate_limit_per_s": 0.05},
        {"name": "pump_2", "role": "mv", "unit": "V", "low": 0.5, "high": 4.0, "rate_limit_per_s": 0.05},
        {"name": "inflow_3", "role": "dv", "unit": "mL/s", "low": 0.0, "high": 5.0},
        {"name": "level_1", "role": "cv", "unit": "cm", "low": 0.0, "high": 30.0, "limit_high": 20.0},
        {"name": "level_2", "role": "cv", "unit": "cm", "low": 0.0, "high": 30.0, "limit_high": 20.0},
    ],
}

CSV = """time,pump_1,pump_2,inflow_3,level_1,level_2
2026-01-01T00:00:00Z,3.0,3.0,0.4,12.4,12.7
2026-01-01T00:00:05Z,3.1,3.0,0.4,12.4,12.7
"""

TRAIN: dict[str, Any] = {"seed": 0}

FLEET: dict[str, Any] = {
    "units": [
        {"plant": "tank"},
        {"plant": "example", "tags": {"level_3": "LI-103", "level_4": "LI-104"}},
    ],
    "seed": 0,
}

ALIAS: dict[str, Any] = {"twin": "champion"}

PREDICT: dict[str, Any] = {
    "horizon_s": 300.0,
    "scenarios": [
        {"name": "more from pump 1", "moves": {"pump_1": [{"after_s": 0.0, "value": 3.5}]}},
        {"name": "a stream comes", "disturbances": {"inflow_3": [{"after_s": 60.0, "value": 1.5}]}},
    ],
}

OPTIMIZE: dict[str, Any] = {
    "horizon_s": 300.0,
    "objective": {
        "setpoints": {"level_1": {"value": 13.0}, "level_2": {"value": 12.0}},
        "prices": {"pump_1": 0.01},
        "move_suppression": {"pump_2": 0.1},
        "steady_state": {"pump_1": {"value": 3.0, "weight": 0.001}},
    },
    "limits": {"level_1": {"high": 18.0, "rank": 1, "ramp_s": 60.0}, "pump_2": {"max_move": 0.1}},
}

BACKTEST: dict[str, Any] = {"against": ["champion"], "coverage": 0.9}

OPERATING_POINT: dict[str, Any] = {"at": "2026-01-01T01:00:00Z"}

SOURCES: dict[str, Any] = {
    "sources": [
        {
            "name": "plc",
            "kind": "opcua",
            "connected": True,
            "received": 120_000,
            "refused": 0,
            "reconnects": 1,
            "gaps": 0,
            "last_time": 1_767_225_600_000_000_000,
            "lag_s": 0.4,
            "skew_s": -0.1,
            "last_error": "",
            "buffered": 250,
            "buffered_bytes": 9000,
            "full": False,
        }
    ]
}

CONTROLLER: dict[str, Any] = {
    "mode": "shadow",
    "setpoints": {"level_1": 13.5},
    "reason": "the night shift watches first",
}

CONTROLLER_REPORT: dict[str, Any] = {
    "run": "3f2a9c1d77e0",
    "state": {"mode": "shadow", "closed_loop_allowed": False, "ready": True, "period_s": 5.0},
    "records": [
        {
            "run": "3f2a9c1d77e0",
            "n": 1,
            "kind": "cycle",
            "at": "2026-01-01T00:00:05Z",
            "mode": "shadow",
            "ok": True,
            "values": {"pump_1": 3.1, "pump_2": 3.0, "level_1": 12.4, "level_2": 12.7},
            "next": {"pump_1": 3.2, "pump_2": 2.9},
        }
    ],
}

STEP_TEST: dict[str, Any] = {
    "settling_s": 400.0,
    "mvs": ["pump_1", "pump_2"],
    "amplitude": {"pump_1": 0.3},
    "limits": {"level_1": {"low": 4.0, "high": 17.0}},
}

CALIBRATE: dict[str, Any] = {}

REPLAY: dict[str, Any] = {}

KEY: dict[str, Any] = {"name": "the historian", "scopes": ["upload", "read"], "expires": "2099-12-31T00:00:00Z"}


def body(example: Any, media_type: str = "application/json") -> dict[str, Any]:
    """`openapi_extra` that shows an example body."""
    return {"requestBody": {"content": {media_type: {"example": example}}}}
