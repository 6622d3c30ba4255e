"use strict";

// The theme follows the system until the reader switches it. Listeners are on the document, since a
// live page replaces parts of its content.
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* no storage: the choice lasts as long as the page */ }
  document.dispatchEvent(new Event("theme"));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new Event("theme"));
});

// Copy a command; where the clipboard is not accessible, it is selected.
async function copyCommand(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.matches(".theme")) switchTheme();
  if (button?.matches(".copy")) copyCommand(button);
});

// A tooltip next to the hovered or focused element.
const card = document.createElement("div");
card.className = "card";
card.setAttribute("role", "status");
card.hidden = true;
document.body.append(card);

function showCard(box, text, picture) {
  card.replaceChildren();
  if (picture) card.append(picture);
  card.append(Object.assign(document.createElement("p"), { textContent: text }));
  card.hidden = false;
  const { width, height } = card.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), innerWidth - width - 8);
  const above = box.top - height - 10;
  card.style.left = `${left}px`;
  card.style.top = `${above > 8 ? above : box.bottom + 10}px`;
}

const hideCard = () => { card.hidden = true; };
for (const [shown, hidden] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(shown, ({ target }) => {
    const owner = target.closest?.("[data-tip]");
    if (owner) showCard(owner.getBoundingClientRect(), owner.dataset.tip);
  });
  document.addEventListener(hidden, ({ target }) => { if (target.closest?.("[data-tip]")) hideCard(); });
}
addEventListener("scroll", hideCard, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideCard(); });

// Highlight the current section in the navigation bar.
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const link of document.querySelectorAll("nav a")) link.classList.toggle("here", link.hash === `#${target.id}`);
  }
}, { rootMargin: "-30% 0px -60% 0px" });
function observeSections() {
  for (const section of document.querySelectorAll("section[id]")) observer.observe(section);
}
observeSections();

// Expand collapsed details for printing.
let expanded = [];
addEventListener("beforeprint", () => {
  expanded = [...document.querySelectorAll("details:not([open])")];
  for (const details of expanded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of expanded) details.open = false; });
