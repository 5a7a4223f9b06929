"""The Flower side of a site, in Flower's environment: a SuperNode, and what its messages ask is asked of our process.

It is started with pipes (`frames`). The first frame says where the server is; then each "train" frame that it writes
is answered by one frame with the site's update, or with why there is none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import frames
import tasks
from flwr.app import Context, Error, Message
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.constant import SubStatus
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins
from flwr.supercore.constant import TaskType
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

OUT = sys.stdout.buffer
PIPE = tasks.Pipe(sys.stdin.buffer)
REFUSED = 1001  # an error code that Flower does not use


class Refused(Exception):
    """The site says why it sends no update."""


def trained(message: Message, _: Context) -> Message:
    """The site's answer to a consensus."""
    asked = recorddict_to_fitins(message.content, keep_input=True)
    header = json.loads(str(asked.config["json"]))
    frames.write(OUT, {**header, "kind": "train"}, parameters_to_ndarrays(asked.parameters)[0])
    found = PIPE.read()
    if found is None:
        raise SystemExit(0)
    answer, vector = found
    if "refused" in answer:
        raise Refused(answer["refused"])
    done = Status(Code.OK, "")
    # the weight of secure aggregation travels in the clear: every site's is one, and rows are told only without it
    result = FitRes(done, ndarrays_to_parameters([vector]), 1, {"json": json.dumps(answer)})
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)


def app(secure: bool) -> ClientApp:
    """The site's app; with secure aggregation it never sends a vector that is not masked."""
    made = ClientApp(mods=[secaggplus_mod] if secure else [])
    made.train()(trained)
    return made


def answered(message: Message, context: Context, secure: bool) -> Message:
    """The reply, or an error that the server is told."""
    masked = RECORD_KEY_CONFIGS in message.content
    final = not masked and json.loads(str(recorddict_to_fitins(message.content, True).config["json"])).get("final")
    if final:  # the consensus to keep: the answer holds nothing of the site's
        return trained(message, context)
    if masked != secure:
        why = "insists on secure aggregation" if secure else "does no secure aggregation: its file does not ask for it"
        return Message(Error(REFUSED, f"the site {why}"), reply_to=message)
    try:
        return app(secure)(message, context)
    except Refused as error:
        return Message(Error(REFUSED, str(error)), reply_to=message)
    except Exception as error:
        return Message(Error(REFUSED, f"{type(error).__name__}: {error}"), reply_to=message)


def command(asked: dict[str, Any], runtime: tasks.Runtime) -> list[str]:
    """That starts the SuperNode."""
    return [
        *(sys.executable, "-E", str(Path(sys.executable).with_name("flower-supernode"))),
        *("--superlink", asked["server"]),
        *("--root-certificates", asked["authority"], "--auth-supernode-private-key", asked["key"]),
        *("--isolation", "process", "--superexec-auth-secret-file", str(runtime.secret_file)),
        *("--host", "127.0.0.1", "--port", str(asked["port"])),
    ]


def main() -> None:
    """Serve messages until our process closes the pipe, or Flower ends."""
    found = PIPE.read()
    if found is None:
        return
    asked = found[0]
    runtime = tasks.Runtime(Path(asked["folder"]), f"127.0.0.1:{asked['port']}")
    flower = runtime.start(command(asked, runtime))
    try:
        for token in runtime.tokens(TaskType.CLIENT_APP, flower, PIPE):
            with runtime.task(token) as client:
                message, context, _, _ = pull_task_input(client)
                push_message(client, answered(message, context, asked["secure"]), context)
                push_task_output(client, context, SubStatus.COMPLETED, "")
    except (tasks.Ended, BrokenPipeError) as error:
        frames.write(OUT, {"kind": "ended", "why": str(error)})
    finally:
        tasks.stop(flower)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # what Flower says must not get between the frames
    main()
    tasks.leave()
