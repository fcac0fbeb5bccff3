// Runs in the document's head, before Gradio: it must be there when Gradio asks for the language.
// The page is written in English; without this Gradio would put the browser's language beside it.
Object.defineProperty(navigator, "language", { get: () => "en" });
Object.defineProperty(navigator, "languages", { get: () => ["en"] });

// Asks before something is lost. Resolves to whether the visitor agreed. The browser's own confirm() would speak the browser's language.
window.askFirst = (question, verb) =>
  new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.className = "ask";
    dialog.setAttribute("aria-label", question);
    const text = document.createElement("p");
    text.textContent = question;
    const row = document.createElement("div");
    const button = (label, value, name) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.textContent = label;
      choice.className = name;
      choice.addEventListener("click", () => dialog.close(value));
      row.append(choice);
      return choice;
    };
    const keep = button("Keep", "", "keep");
    button(verb, "yes", "lose");
    dialog.append(text, row);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    (document.querySelector(".gradio-container") || document.body).append(dialog);
    dialog.showModal();
    keep.focus();
  });

// The link in our footer opens Gradio's API panel, whose own button is hidden.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("a[href='?view=api']") && document.querySelector("button.show-api");
  if (!button) return;
  event.preventDefault();
  button.click();
});
