// The page at `/docs`: the OpenAPI document as a list of routes with their parameters and a working example.
import "./theme.js";

const about = document.getElementById("about");
const answer = await fetch("/openapi.json").catch(() => null);
if (!answer?.ok) about.textContent = "The service does not answer. Load the page again when it does.";
const specification = answer?.ok ? await answer.json() : { info: {}, paths: {} };
if (specification.info.description) about.textContent = specification.info.description;
const groups = new Map(); // the place of each tag's routes

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

function groupOf(tag) {
  if (!groups.has(tag)) {
    const section = element("section", "", document.getElementById("routes"));
    element("h2", tag.charAt(0).toUpperCase() + tag.slice(1), section);
    groups.set(tag, section);
  }
  return groups.get(tag);
}

for (const [path, operations] of Object.entries(specification.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const details = element("details", "", groupOf(operation.tags?.[0] ?? "other"));
    const summary = element("summary", "", details);
    element("code", `${method.toUpperCase()} ${path}`, summary);
    summary.append(` ${operation.description ?? operation.summary}`);
    for (const parameter of operation.parameters ?? []) {
      element("div", `${parameter.name} (${parameter.in}): ${parameter.description ?? ""}`, details);
    }
    element("pre", curl(method.toUpperCase(), path, operation), details);
  }
}
