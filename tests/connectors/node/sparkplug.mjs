// Encodes Sparkplug B payloads: a line of JSON on stdin, a line of base64 on stdout.

import readline from "node:readline";
import sparkplug from "sparkplug-payload";

const codec = sparkplug.get("spBv1.0");
for await (const line of readline.createInterface({ input: process.stdin })) {
	console.log(Buffer.from(codec.encodePayload(JSON.parse(line))).toString("base64"));
}
