// A job as it goes: its progress, remaining time, losses and alarms, and how it ended.
import { events, get, remove } from "../api.js";
import { Mark, Trouble } from "../components.js";
import { duration, percent } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { JOB } from "../words.js";

export const GOING = ["queued", "running"];

/** A job that is followed: {job, points, alarms, error, begin, fail, cancel}. `done` is called when it has ended. */
export function useJob(done) {
  const [job, setJob] = useState(null);
  const [points, setPoints] = useState([]);
  const [alarms, setAlarms] = useState([]);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (!job) return undefined;
    const abort = new AbortController();
    follow(job.job, abort.signal).catch((problem) => problem.name === "AbortError" || setError(problem));
    return () => abort.abort();
  }, [job?.job]);

  async function follow(id, abort) {
    for await (const { event, data } of events(`/v1/jobs/${id}/events`, abort)) {
      if (event === "progress") {
        setPoints((before) => [...before, data]);
        setJob((before) => ({ ...before, progress: data.progress, eta_s: data.eta_s, state: "running" }));
      }
      if (event === "alarm") setAlarms((before) => [...before, data.detail]);
    }
    setJob(await get(`/v1/jobs/${id}`));
    done();
  }
  const begin = (started) => {
    setPoints([]);
    setAlarms([]);
    setError(null);
    setJob(started);
  };
  const cancel = () => remove(`/v1/jobs/${job.job}`).then(setJob, setError);
  return { job, points, alarms, error, begin, fail: setError, cancel, going: job && GOING.includes(job.state) };
}

/** State, progress and alarms of a job; nothing before there is one. */
export function Progress({ of: { job, alarms, error, going, cancel }, label }) {
  const [kind, words] = job ? JOB[job.state] : [];
  return html`<${Trouble} error=${error} />
    ${job && html`<div class="bar" aria-live="polite"><${Mark} kind=${kind}>${words}<//>
      ${going && html`<span>${percent(job.progress)}${job.eta_s >= 1 ? `, about ${duration(job.eta_s)} left` : ""}</span>
        <button type="button" class="plain push" onClick=${cancel}>cancel</button>`}
      ${job.result && html`<code>${job.result.twin ?? job.result.version}</code>`}</div>
    ${going && html`<progress aria-label=${label} value=${job.progress}></progress>`}
    <${Trouble} error=${job.error && { message: job.error.detail, errors: job.error.errors }} />`}
    ${[...new Set(alarms)].map((alarm) => html`<p><${Mark} kind="attention">${alarm}<//></p>`)}`;
}
