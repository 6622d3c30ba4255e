"use strict";

// Live pages: ask once a second for what has changed, and change that in place.
const POLL_SECONDS = 1;
const HIDDEN_POLL_SECONDS = 10;  // also the longest pause while the server does not answer
const REPLY_TIMEOUT_SECONDS = 30;

const liveContent = document.getElementById("content");
const dataUrl = new URL(`/data/${location.pathname.replace(/^\/(page\/)?/, "")}${location.search}`, location.origin);
const rowIds = new Map();
let problem = "";  // what the server cannot read
let numFailures = 0;
let pollTimer = null;  // null while a reply is awaited

const liveNotice = Object.assign(document.createElement("p"), { className: "notice live", hidden: true });
liveNotice.setAttribute("role", "status");
liveContent.before(liveNotice);
function showNotice(text) {
  liveNotice.hidden = !text;
  if (liveNotice.textContent !== text) liveNotice.textContent = text;
}

// What the reader has done and what scripts have drawn stays as it is.
const morphOptions = {
  morphStyle: "innerHTML",
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed(old, next) {
      if (!(old instanceof Element)) return true;
      if (old.matches(".plot")) {
        old.style.height = next.style.height;
        old.setAttribute("aria-label", next.getAttribute("aria-label"));
      }
      return !old.matches(".plot, .table, [data-keep]");
    },
    beforeNodeRemoved: (node) => !(node instanceof Element && node.matches("[data-keep]")),
    beforeAttributeUpdated(name, element) {
      const isOfReader = { open: "details", "data-left": ".note", class: "figure, nav a" }[name];
      return !(isOfReader && element.matches(isOfReader));
    },
  },
};

async function updatePage(changes) {
  dataUrl.searchParams.set("cursor", changes.cursor);
  if (changes.title !== undefined) document.title = changes.title;
  if (changes.problem !== undefined) problem = changes.problem ?? "";
  if (changes.content !== undefined) {
    Idiomorph.morph(liveContent, changes.content, morphOptions);
    observeSections();
    for (const [name, chart] of charts) {
      if (chart.figure.isConnected) continue;
      Plotly.purge(chart.plot);
      charts.delete(name);
    }
  }
  for (const [name, { head = null, ids, rows = {} }] of Object.entries(changes.tables ?? {})) {
    const remaining = new Set(ids);
    const removed = ids ? (rowIds.get(name) ?? []).filter((id) => !remaining.has(id)) : [];
    if (ids) rowIds.set(name, ids);
    updateTable(name, head, rows, removed);
  }
  await drawCharts(changes.charts ?? {});
  document.documentElement.dataset.live = changes.cursor;
}

async function requestChanges() {
  let reply;
  try {
    reply = await fetch(dataUrl, { signal: AbortSignal.timeout(1000 * REPLY_TIMEOUT_SECONDS) });
  } catch {
    numFailures += 1;
    const restart = `start it again with --port=${location.port} and open the URL that it prints`;
    showNotice(`The server does not answer. If it was stopped, ${restart}; this page then continues by itself.`);
    return;
  }
  numFailures = 0;
  if (reply.status === 200) await updatePage(await reply.json());
  if (reply.ok) showNotice(problem);
  else if (reply.status === 403) showNotice("The server was restarted; open the URL that it printed, and this page continues by itself.");
  else showNotice((await reply.json()).problem);
}

async function poll() {
  clearTimeout(pollTimer);
  pollTimer = null;
  try {
    await requestChanges();
  } finally {
    const seconds = document.hidden ? HIDDEN_POLL_SECONDS : Math.min(HIDDEN_POLL_SECONDS, POLL_SECONDS * 2 ** numFailures);
    pollTimer = setTimeout(poll, 1000 * seconds);
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && pollTimer !== null) poll(); });
poll();
