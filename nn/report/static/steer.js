"use strict";

// Buttons of a sweep's live page that pause, resume, stop, feed and retry it.
const steerUrl = dataUrl.pathname.replace(/^\/data\//, "/steer/");
const steering = Object.assign(document.createElement("form"), { className: "steering controls" });
const steeringAnswer = document.createElement("output");
steering.dataset.keep = "";

async function steer(verb, text = "") {
  steeringAnswer.textContent = "…";
  try {
    const reply = await fetch(steerUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ verb, arguments: text }),
    });
    const isJson = reply.headers.get("Content-Type") === "application/json";
    steeringAnswer.textContent = isJson ? (await reply.json()).message : "The request was refused.";
  } catch {
    steeringAnswer.textContent = "The server does not answer.";
  }
}

function addButton(label, verb, input = null, question = "") {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  button.addEventListener("click", () => {
    if (input && !input.value.trim()) input.focus();
    else if (!question || window.confirm(question)) steer(verb, input?.value ?? "");
  });
  steering.append(button);
}

function addInput(label, placeholder, size) {
  const input = Object.assign(document.createElement("input"), { placeholder, size });
  input.setAttribute("aria-label", label);
  steering.append(input);
  return input;
}

addButton("Pause", "pause");
addButton("Resume", "resume");
addButton("Stop", "stop", null, "Stop this sweep? Running trials end after their epoch, and none starts until it is resumed.");
addButton("Retry failed", "retry");
const trialInput = addInput("Trial", "trial", 5);
addButton("Stop trial", "stop", trialInput);
addButton("Retry trial", "retry", trialInput);
const pointInput = addInput("Point to queue", "lr=0.1 depth=2", 24);
addButton("Enqueue", "enqueue", pointInput);
steering.append(steeringAnswer);
steering.addEventListener("submit", (event) => event.preventDefault());
(document.querySelector(".masthead") ?? liveContent).append(steering);
