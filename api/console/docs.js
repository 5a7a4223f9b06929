// The page at `/docs`: the OpenAPI document as a list of routes with their parameters and a working example.
import "./theme.js";

const specification = await (await fetch("/openapi.json")).json();
document.getElementById("about").textContent = specification.info.description;

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

function curl(method, path, operation) {
  const [[type, content]] = Object.entries(operation.requestBody?.content ?? { "": {} });
  const lines = [`curl -X ${method} ${location.origin}${path}`, '-H "Authorization: Bearer $TWIN_KEY"'];
  if (content.example !== undefined) {
    const text = typeof content.example === "string" ? content.example : JSON.stringify(content.example);
    lines.push(`-H 'Content-Type: ${type}'`, `--data-binary '${text}'`);
  }
  return lines.join(" \\\n  ");
}

for (const [path, operations] of Object.entries(specification.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const details = element("details", "", document.getElementById("routes"));
    const summary = element("summary", "", details);
    element("code", `${method.toUpperCase()} ${path}`, summary);
    summary.append(` ${operation.description ?? operation.summary}`);
    for (const parameter of operation.parameters ?? []) {
      element("div", `${parameter.name} (${parameter.in}): ${parameter.description ?? ""}`, details);
    }
    element("pre", curl(method.toUpperCase(), path, operation), details);
  }
}
