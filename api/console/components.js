// Small parts that several views use.
import { instant, number, time } from "./format.js";
import { html, useEffect, useState } from "./lib.js";
import { of } from "./state.js";
import { trustOf } from "./words.js";

const SYMBOL = { ok: "✓", attention: "▲", alarm: "◆", "": "" };

/** Words with a symbol, so that colour never speaks alone. */
export const Mark = ({ kind = "", children }) =>
  html`<span class=${`mark ${kind}`}>${SYMBOL[kind] && html`<span aria-hidden="true">${SYMBOL[kind]} </span>`}${children}</span>`;

const LONG = 24; // characters
const SOME = 4; // names that are told

export const isLong = (name) => name.length > LONG;

/** The name of a tag; a long one in smaller letters, broken where it must be. */
export const Name = ({ of: name }) => html`<span class=${isLong(name) ? "long" : "whole"}>${name}</span>`;

/** Names in a sentence: the first few where they are many. */
export const some = (names) => (names.length > SOME + 1 ? `${names.slice(0, SOME).join(", ")} and ${names.length - SOME} more` : names.join(", "));

/** What the service refused and where, in its own words. */
export function Trouble({ error }) {
  if (!error) return null;
  const places = (error.errors ?? []).length > 1 ? error.errors : [];
  return html`<div class="trouble" role="alert">
    <${Mark} kind="alarm">${error.message}<//>
    ${places.length > 0 && html`<ul>${places.map((p) => html`<li><code>${p.loc.join(".")}</code>: ${p.msg}</li>`)}</ul>`}
  </div>`;
}

export function Trust({ trust }) {
  if (!trust) return null;
  const [kind, words] = trustOf(trust);
  return html`<div class="trust">
    <${Mark} kind=${kind}>${words}<//>
    ${trust.reasons.length > 0 && html`<ul>${trust.reasons.map((r) => html`<li>${r.detail}</li>`)}</ul>`}
  </div>`;
}

/** A number that may be left empty; `change` gets a number or null once the text is one. */
export function NumberField({ value, change, label, placeholder, min, max, step = "any" }) {
  const [text, setText] = useState(value ?? "");
  useEffect(() => {
    if (Number(text) !== value) setText(value ?? "");
  }, [value]);
  const input = (event) => {
    setText(event.target.value);
    const given = event.target.value.trim() === "" ? null : Number(event.target.value);
    if (given === null || Number.isFinite(given)) change(given);
  };
  return html`<input type="number" aria-label=${label} ...${{ min, max, step, placeholder }} value=${text} onInput=${input} />`;
}

/** A moment in the time zone chosen, as 2026-01-31 08:00:00; `change` gets seconds since 1970, or null where it may be empty. */
export function Moment({ value, change, label, placeholder }) {
  const [typed, setTyped] = useState(null); // what is being typed: the page goes on behind it
  const [wrong, setWrong] = useState(false);
  const shown = value === null || value === undefined ? "" : time(value);
  const set = () => {
    if (typed === null) return;
    const given = instant(typed);
    const empty = placeholder !== undefined && typed.trim() === ""; // where a time may be left out
    setWrong(!empty && !Number.isFinite(given));
    if (!empty && !Number.isFinite(given)) return;
    setTyped(null);
    change(empty ? null : given);
  };
  return html`<input class="moment" aria-label=${label} aria-invalid=${wrong} title="such as 2026-01-31 08:00" placeholder=${placeholder} value=${typed ?? shown}
      onInput=${(e) => setTyped(e.target.value)} onBlur=${set} onKeyDown=${(e) => e.key === "Enter" && set()} />
    ${wrong && html`<${Mark} kind="attention">no time such as 2026-01-31 08:00<//>`}`;
}

const FEW = 8; // tags of a role that are all shown at first

/** The tags of a role to show, and how to choose others. */
export function useChosen(role) {
  return useState(() => of(role).slice(0, FEW).map((tag) => tag.name));
}

/** Beside a horizon: how far a twin with two time scales looks. */
export const Farther = ({ seconds }) => (seconds ? html`<span class="quiet small"> (its slow model: ${number(seconds)} s)</span>` : null);

/** Which tags of a role to show; nothing where they are few. */
export function Chooser({ role, chosen, choose }) {
  const tags = of(role);
  if (tags.length <= FEW) return null;
  return html`<details><summary class="small quiet">${chosen.length} of ${tags.length} ${role.toUpperCase()}s shown</summary>
    <${Chips} tags=${tags} chosen=${chosen} choose=${choose} /></details>`;
}

/** Tags to be checked, in the order in which they were. */
export function Chips({ tags, chosen, choose }) {
  const toggle = (name, on) => choose(on ? [...chosen, name] : chosen.filter((other) => other !== name));
  return html`<div class="chips" role="group" aria-label="Tags">${tags.map((tag) => html`<label key=${tag.name} title=${`${tag.role}: ${tag.description}`}>
    <input type="checkbox" checked=${chosen.includes(tag.name)} onChange=${(e) => toggle(tag.name, e.target.checked)} />${tag.name}</label>`)}</div>`;
}

export const Band = ({ triple, digits = 3 }) =>
  triple ? html`<span class="whole">${number(triple.mean, digits)} <span class="quiet">(${number(triple.low, digits)} … ${number(triple.high, digits)})</span></span>` : "–";

/** Save text or a Blob as a file. */
export function save(name, content, type = "text/csv") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Read something when what it depends on changes, and every so often: {value, error, again}. */
export function useRead(read, on, every) {
  const [state, setState] = useState({ value: null, error: null });
  const [count, setCount] = useState(0);
  useEffect(() => {
    let gone = false;
    let timer = null;
    const once = async () => {
      try {
        const value = await read();
        if (!gone) setState({ value, error: null });
      } catch (error) {
        if (!gone) setState((before) => ({ ...before, error }));
      }
      if (!gone && every) timer = setTimeout(once, every);
    };
    once();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [...on, count]);
  return { ...state, again: () => setCount((n) => n + 1) };
}
