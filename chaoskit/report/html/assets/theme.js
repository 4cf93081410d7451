// Light or dark: as the system is, until somebody chooses here. The choice is for this page and this visit.

function theme(changed) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement, button = byId("theme");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => {
    button.textContent = now() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(now() === "dark"));
    button.setAttribute("aria-label", `Dark colours: ${now() === "dark" ? "on" : "off"}`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    label();
    changed();
  });
  dark.addEventListener("change", () => {
    label();
    changed();
  });
  label();
}
