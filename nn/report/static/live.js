"use strict";

// Live pages: ask every few seconds for what has changed, and change that in place.
const HIDDEN_POLL_SECONDS = 10;  // also the longest pause while the server does not answer
const REPLY_TIMEOUT_SECONDS = 30;

const liveContent = document.getElementById("content");
const dataUrl = new URL(`/data/${location.pathname.replace(/^\/(page\/)?/, "")}${location.search}`, location.origin);
const rowIds = new Map();
let problem = "";  // what the server cannot read
let pollSeconds = 1;  // as the server asks for
let numFailures = 0;  // in a row
let pollTimer = null;  // null while a reply is awaited

const liveNotice = Object.assign(document.createElement("p"), { className: "notice live", hidden: true });
liveNotice.setAttribute("role", "status");
liveContent.before(liveNotice);
function showNotice(text) {
  if (text === document.querySelector(".lead").textContent) text = "";  // the page says it already
  if (liveNotice.textContent === text) return;
  liveNotice.hidden = !text;
  liveNotice.textContent = text;
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
  if (changes.interval !== undefined) pollSeconds = changes.interval;
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
    const restart = `start it again with --port=${location.port} and open the URL that it prints`;
    showNotice(`The server does not answer. If it was stopped, ${restart}; this page then continues by itself.`);
    return false;
  }
  if (reply.status === 403) {
    showNotice("The server was restarted; open the URL that it printed, and this page continues by itself.");
    return false;
  }
  const changes = reply.status === 204 ? {} : await reply.json();
  if (changes.cursor) await updatePage(changes);
  showNotice(changes.problem ?? problem);
  return reply.ok;
}

async function poll() {
  clearTimeout(pollTimer);
  pollTimer = null;
  try {
    numFailures = await requestChanges() ? 0 : numFailures + 1;
  } finally {
    const seconds = document.hidden ? HIDDEN_POLL_SECONDS : Math.min(HIDDEN_POLL_SECONDS, pollSeconds * 2 ** numFailures);
    pollTimer = setTimeout(poll, 1000 * seconds);
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && pollTimer !== null) poll(); });
poll();
