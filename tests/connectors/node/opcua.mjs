// An OPC UA server on Node.js: `node opcua.mjs PORT FOLDER COUNT [USER PASSWORD]`.
// A line on stdin sets values: {"set": [{"tag": "Level", "value": 1.5, "time": ms, "status": "Good"}, …]}, or lets all T0,
// T1, … count by themselves: {"every": ms}; it answers "set". Of up to ten of these it keeps history. HOST is its address;
// MINIMUM_MS is the fastest sampling of its nodes, where 0 reports each change by itself, without sampling.

import readline from "node:readline";
import pki from "node-opcua-certificate-manager";
import server_ from "node-opcua-server";
import access from "node-opcua-data-access";
import codes from "node-opcua-status-code";
import variant from "node-opcua-variant";

const [port, folder, count, user, password] = process.argv.slice(2);
const { DataType } = variant;

const server = new server_.OPCUAServer({
	port: Number(port),
	hostname: process.env.HOST ?? "127.0.0.1",
	serverCertificateManager: new pki.OPCUACertificateManager({
		automaticallyAcceptUnknownCertificate: true,
		rootFolder: folder,
	}),
	allowAnonymous: !user,
	userManager: { isValidUser: (name, word) => name === user && word === password },
	disableDiscovery: true,
});
await server.initialize();
const space = server.engine.addressSpace;
const own = space.getOwnNamespace();
const nodes = new Map();

function variable(name, dataType, value) {
	const node = own.addVariable({
		organizedBy: space.rootFolder.objects,
		browseName: name,
		nodeId: `s=${name}`,
		dataType,
		minimumSamplingInterval: Number(process.env.MINIMUM_MS ?? 10),
	});
	node.setValueFromSource({ dataType: DataType[dataType], value }, codes.StatusCodes.Good, new Date());
	nodes.set(name, { node, dataType: DataType[dataType] });
	return node;
}

space.installHistoricalDataNode(variable("Level", "Double", 1.0), { maxOnlineValues: 100000 });
variable("Valve", "Double", 40.0);
variable("Mode", "Int16", 1);
variable("Text", "String", "words");
own.addVariable({
	organizedBy: space.rootFolder.objects,
	browseName: "Locked",
	nodeId: "s=Locked",
	dataType: "Double",
	accessLevel: "CurrentRead",
	userAccessLevel: "CurrentRead",
}).setValueFromSource({ dataType: DataType.Double, value: 1 });
const analog = own.addAnalogDataItem({
	organizedBy: space.rootFolder.objects,
	browseName: "Depth",
	nodeId: "s=Depth",
	dataType: "Double",
	engineeringUnitsRange: { low: 0, high: 500 },
	engineeringUnits: access.standardUnits.centimetre,
});
analog.setValueFromSource({ dataType: DataType.Double, value: 150 }, codes.StatusCodes.Good, new Date());
nodes.set("Depth", { node: analog, dataType: DataType.Double });
for (let i = 0; i < Number(count); i++) {
	const node = variable(`T${i}`, "Double", i);
	if (count <= 10) space.installHistoricalDataNode(node, { maxOnlineValues: 100000 });
}

await server.start();
console.log(`listening ${server.getEndpointUrl()} ${own.index}`);

let ticks = 0;
function tick() {
	ticks++;
	for (let i = 0; i < Number(count); i++) {
		nodes.get(`T${i}`).node.setValueFromSource({ dataType: DataType.Double, value: ticks + i / 1e4 }, codes.StatusCodes.Good, new Date());
	}
}

for await (const line of readline.createInterface({ input: process.stdin })) {
	const asked = JSON.parse(line);
	if (asked.every) setInterval(tick, asked.every);
	for (const { tag, value, time, status } of asked.set ?? []) {
		const { node, dataType } = nodes.get(tag);
		node.setValueFromSource({ dataType, value }, codes.StatusCodes[status ?? "Good"], new Date(time));
	}
	console.log("set");
}
await server.shutdown(0);
process.exit(0);
