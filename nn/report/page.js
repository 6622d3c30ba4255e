"use strict";

// The theme follows the system until the reader switches it.
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

document.querySelector("button.theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* no storage: the choice lasts as long as the page */ }
  document.dispatchEvent(new Event("theme"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new Event("theme"));
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
for (const target of document.querySelectorAll("[data-tip]")) {
  const show = () => showCard(target.getBoundingClientRect(), target.dataset.tip);
  target.addEventListener("pointerenter", show);
  target.addEventListener("focus", show);
  target.addEventListener("pointerleave", hideCard);
  target.addEventListener("blur", hideCard);
}
addEventListener("scroll", hideCard, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideCard(); });

// Copy buttons of commands; where the clipboard is not accessible, the command is selected.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// Highlight the current section in the navigation bar.
const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      for (const [name, link] of links) link.classList.toggle("here", name === target.id);
    }
  }
}, { rootMargin: "-30% 0px -60% 0px" });
for (const section of document.querySelectorAll("section[id]")) observer.observe(section);

// Expand collapsed details for printing.
let expanded = [];
addEventListener("beforeprint", () => {
  expanded = [...document.querySelectorAll("details:not([open])")];
  for (const details of expanded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of expanded) details.open = false; });
