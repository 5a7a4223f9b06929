"""Requests made up from the OpenAPI document, many of each route: no error of the service, no undocumented answer.

    python tests/benchmarks/fuzz_rest.py [--examples 200] [--seeds 1] [--only optimize]

What `tests/api/test_fuzz.py` does with ten requests a route, at length, and with a plant that has telemetry and a
twin, so that questions are answered; with odd seeds the twins, recommendations, jobs and files in the paths exist, too.
Resumes by seed and route: `results/fuzz_rest.json` holds how many requests were made and what was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import schemathesis
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[2]))  # a benchmark is run as a script
from service_faults import trained

from api.main import create_app
from api.settings import Settings
from tests.api.test_fuzz import HEADERS, KEY, KNOWN, wrong_answers

RESULTS = Path(__file__).parent / "results" / "fuzz_rest.json"


def there(client: TestClient) -> dict[str, Any]:
    """A plant with a twin, a recommendation, a job and a file that is being uploaded; the service is ready then."""
    while client.get("/readyz").status_code != 200:
        time.sleep(0.5)
    path = "/v1/plants/tank"
    client.post(f"{path}/optimize", json={"horizon_s": 60.0, "objective": {"setpoints": {"level_1": {"value": 12.0}}}})
    [recommendation] = client.get(f"{path}/recommendations", params={"limit": 1}).json()["items"]
    twin, job = (client.get(of).json()["items"][0] for of in (f"{path}/twins", "/v1/jobs"))
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000", "Upload-Metadata": "content_type dGV4dC9jc3Y="}
    file = client.post(f"{path}/telemetry/files", headers=headers).headers.get("location", "").rpartition("/")[2]
    known = {"plant": "tank", "twin": twin["twin"], "recommendation": recommendation["id"], "job": job["job"]}
    return known | ({"file": file} if file else {})


def main() -> None:
    """Ask what was not asked yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        trained(Path(folder) / "data")
        settings = Settings(data_dir=Path(folder) / "data", admin_key=KEY, workers=0, log_level="error")
        app = create_app(settings)
        app.state.service.keys.bootstrap(settings)
        with TestClient(app, headers=HEADERS) as client:
            known = there(client)
            document = schemathesis.openapi.from_asgi("/openapi.json", app)
            operations = [operation.ok() for operation in document.get_all_operations()]
            for seed in range(asked.seeds):
                for operation in operations:
                    key = f"{operation.label}, {'ids that exist, ' if seed % 2 else ''}seed {seed}"
                    if asked.only not in key or (key in found and found[key]["examples"] >= asked.examples):
                        continue
                    begun = time.process_time()
                    wrong = wrong_answers(operation, asked.examples, seed, known if seed % 2 else KNOWN)
                    found[key] = {"examples": asked.examples, "cpu_s": time.process_time() - begun, "wrong": wrong}
                    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
                    print(f"{key:70}{found[key]['cpu_s']:8.1f} s  {len(wrong)} wrong", flush=True)
    routes, requests = len({key.partition(",")[0] for key in found}), sum(item["examples"] for item in found.values())
    bad = [answer for item in found.values() for answer in item["wrong"]]
    print(f"{routes} routes, up to {requests} requests, {len(bad)} wrong answers")
    for answer in bad[:10]:
        print(answer)


if __name__ == "__main__":
    main()
