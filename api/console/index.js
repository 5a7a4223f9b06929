// The page at `/`: asks for the key once a tab, then shows plants and their latest twins.
const $ = (id) => document.getElementById(id);

async function get(path, accept = "application/json") {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("key")}`, Accept: accept };
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return accept === "text/html" ? answer.blob() : answer.json();
}

async function showStatus() {
  const answer = await fetch("/readyz").catch(() => null);
  const body = answer ? await answer.json() : { ready: false, reasons: ["the service does not answer"] };
  $("status").className = body.ready ? "ready" : "waiting";
  $("status").textContent = body.ready ? "ready" : `not ready: ${body.reasons.join("; ")}`;
}

function cell(row, content) {
  row.insertCell().append(content ?? "–");
}

function reportLink(plant, twin) {
  const button = document.createElement("button");
  button.textContent = "open";
  button.onclick = async () => {
    const page = await get(`/v1/plants/${plant}/twins/${twin}/report`, "text/html");
    window.open(URL.createObjectURL(page));
  };
  return button;
}

async function showPlants() {
  const plants = (await get("/v1/plants?limit=1000")).items;
  const body = $("plants").tBodies[0];
  body.replaceChildren();
  for (const plant of plants) {
    const [latest] = (await get(`/v1/plants/${plant.plant}/twins?limit=1`)).items;
    const row = body.insertRow();
    for (const text of [plant.plant, plant.name, plant.tags.length, `${plant.sample_period_s} s`]) cell(row, text);
    cell(row, latest?.twin);
    cell(row, latest && new Date(latest.created).toLocaleString());
    cell(row, plant.aliases.champion);
    cell(row, latest && reportLink(plant.plant, latest.twin));
  }
  $("plants").hidden = plants.length === 0;
  $("none").hidden = plants.length > 0;
}

async function enter() {
  try {
    await showPlants();
    $("door").hidden = true;
  } catch (error) {
    sessionStorage.removeItem("key");
    $("refused").textContent = error.message;
  }
}

$("door").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value);
  enter();
};

showStatus();
setInterval(showStatus, 5000);
if (sessionStorage.getItem("key")) enter();
