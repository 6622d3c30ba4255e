"use strict";

// The theme: what the system says until the reader says otherwise.
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

document.querySelector("button.theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* forgotten with the page */ }
  document.dispatchEvent(new Event("theme"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new Event("theme"));
});

// A small card beside the pointer or the focus.
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
for (const tipped of document.querySelectorAll("[data-tip]")) {
  const show = () => showCard(tipped.getBoundingClientRect(), tipped.dataset.tip);
  tipped.addEventListener("pointerenter", show);
  tipped.addEventListener("focus", show);
  tipped.addEventListener("pointerleave", hideCard);
  tipped.addEventListener("blur", hideCard);
}
addEventListener("scroll", hideCard, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideCard(); });

// Commands can be copied.
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

// The contents show where the reader is.
const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      for (const [name, link] of links) link.classList.toggle("here", name === target.id);
    }
  }
}, { rootMargin: "-30% 0px -60% 0px" });
for (const section of document.querySelectorAll("section[id]")) watch.observe(section);

// What is folded away is printed as well.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
