--- The stylesheet of the pages: light and dark, from a phone of 320 px up.
return [[
:root {
  color-scheme: light dark;
  --page: #f6f7f5; --card: #fff; --text: #1b2420; --dim: #55625c; --line: #c3cbc6;
  --accent: #0b6e5f; --on-accent: #fff; --accent-soft: #dff1ec;
  --bad: #b3261e; --bad-soft: #fdeceb; --good: #146c43; --good-soft: #e0f3e8;
  --warn: #7a5200; --warn-soft: #fdf1d7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121715; --card: #1b221f; --text: #e6ece9; --dim: #a3b1aa; --line: #47534d;
    --accent: #63d3bd; --on-accent: #06231d; --accent-soft: #15332c;
    --bad: #ff9d94; --bad-soft: #3b1a18; --good: #7fdba8; --good-soft: #16321f;
    --warn: #f3c669; --warn-soft: #382a0d;
  }
}
* { box-sizing: border-box; }
html { font: 100%/1.5 system-ui, sans-serif; background: var(--page); color: var(--text); }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; }
header, main, footer { width: 100%; max-width: 44rem; margin: 0 auto; padding: 0 1rem; }
header {
  display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between;
  gap: .25rem 1rem; padding-top: .75rem; padding-bottom: .75rem;
}
main { flex: 1; padding-bottom: 2rem; }
main:focus { outline: none; }
footer { color: var(--dim); font-size: .875rem; padding-bottom: 1rem; }
.brand {
  font-weight: 800; font-size: 1.25rem; letter-spacing: -.01em; text-decoration: none;
  color: var(--text); padding: .5rem 0;
}
nav ul { display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; margin: 0; padding: 0; }
nav a {
  display: block; padding: .5rem .6rem; border-radius: .5rem; color: var(--text);
  text-decoration: none;
}
nav li:first-child a:not([aria-current]) { margin-left: -.6rem; }
nav a:hover { text-decoration: underline; }
nav a[aria-current] { background: var(--accent-soft); font-weight: 600; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em; margin: 1rem 0 .5rem; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 1.5rem 0 .5rem; }
a { color: var(--accent); }
p { margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.hint, .dim { color: var(--dim); }
.hint { font-size: .9rem; margin: .1rem 0 .3rem; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: .9rem;
  padding: 1rem 1.25rem; margin: 1rem 0;
}
.card > :first-child { margin-top: 0; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: .5rem; top: .5rem; background: var(--card); padding: .5rem 1rem; z-index: 1; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }

fieldset { border: 0; margin: 1.25rem 0 0; padding: 0; min-width: 0; }
legend { font-weight: 600; padding: 0; margin-bottom: .35rem; }
fieldset.group { margin-top: 2rem; }
fieldset.group > legend { font-size: 1.2rem; margin-bottom: -.25rem; }
.field { margin: 1rem 0 0; }
.field > label { display: block; font-weight: 600; }
.optional { font-weight: 400; color: var(--dim); }
input, select, textarea, button { font: inherit; color: inherit; }
input:not([type=checkbox], [type=radio]), select, textarea {
  display: block; width: 100%; min-height: 2.75rem; padding: .55rem .75rem; margin-top: .25rem;
  background: var(--card); border: 1px solid var(--dim); border-radius: .6rem;
}
textarea { min-height: 8rem; resize: vertical; }
select {
  appearance: none; padding-right: 2.5rem; background-repeat: no-repeat;
  background-image: linear-gradient(45deg, transparent 50%, currentColor 50%),
    linear-gradient(-45deg, transparent 50%, currentColor 50%);
  background-position: right 1.25rem center, right .9rem center; background-size: .4rem .4rem;
}
[aria-invalid=true] { border: 2px solid var(--bad) !important; }
.error { color: var(--bad); font-weight: 600; margin: .25rem 0 0; }
.choice {
  display: flex; align-items: center; gap: .6rem; min-height: 2.75rem; padding: .25rem 0;
}
.choice input, .drink input {
  width: 1.25rem; height: 1.25rem; flex: none; margin: 0; accent-color: var(--accent);
}
.two { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.button, button {
  display: inline-block; min-height: 2.75rem; padding: .6rem 1.25rem; border-radius: .6rem;
  border: 1px solid var(--accent); background: var(--accent); color: var(--on-accent);
  font-weight: 600; text-decoration: none; cursor: pointer;
}
button:hover, .button:hover { filter: brightness(1.08); }
button.plain { background: transparent; color: var(--accent); }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem; }
form.auto .auto-hidden { display: none; }

.drinks { display: grid; gap: .6rem; }
.drink {
  display: flex; align-items: center; gap: .75rem; padding: .75rem 1rem; min-height: 3.25rem;
  background: var(--card); border: 1px solid var(--dim); border-radius: .75rem; cursor: pointer;
}
.drink:has(:checked) { border: 2px solid var(--accent); background: var(--accent-soft); }
.drink:has(:disabled) { color: var(--dim); border-style: dashed; cursor: default; }
.drink:has(:focus-visible) { outline: 3px solid var(--accent); outline-offset: 2px; }
.drink .name { flex: 1; font-weight: 600; min-width: 0; overflow-wrap: anywhere; }
.drink .price { font-variant-numeric: tabular-nums; white-space: nowrap; }

.banner { border-radius: .75rem; padding: .75rem 1rem; margin: 1rem 0; border: 1px solid; }
.banner > :first-child { margin-top: 0; }
.banner > :last-child { margin-bottom: 0; }
.banner h2 { margin: 0 0 .25rem; }
.banner.bad { background: var(--bad-soft); border-color: var(--bad); }
.banner.good { background: var(--good-soft); border-color: var(--good); }
.banner.warn { background: var(--warn-soft); border-color: var(--warn); }
.banner.busy { background: var(--accent-soft); border-color: var(--accent); }
.banner a { color: inherit; }
.banner ul { margin: .25rem 0; padding-left: 1.25rem; }

.steps { list-style: none; margin: 1rem 0; padding: 0; }
.steps li {
  display: grid; grid-template-columns: 1.75rem 1fr auto; gap: .75rem; align-items: start;
  padding: .6rem 0; border-top: 1px solid var(--line);
}
.steps li:first-child { border-top: 0; }
.steps li > * { margin-top: .1rem; }
.steps .mark { margin-top: 0; }
.mark {
  width: 1.75rem; height: 1.75rem; border-radius: 50%; display: grid; place-items: center;
  border: 2px solid var(--line); font-size: .9rem; font-weight: 700; line-height: 1;
}
.done .mark { background: var(--good); border-color: var(--good); color: var(--card); }
.working .mark { border-color: var(--accent); border-right-color: transparent; }
.failed .mark, .unknown .mark, .stuck .mark {
  background: var(--bad); border-color: var(--bad); color: var(--card);
}
.undone .mark { background: var(--warn); border-color: var(--warn); color: var(--card); }
.steps .state { color: var(--dim); white-space: nowrap; }
.waiting .what { color: var(--dim); }
@media (prefers-reduced-motion: no-preference) {
  .working .mark { animation: turn 1s linear infinite; }
  @keyframes turn { to { transform: rotate(360deg); } }
}

table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .5rem .75rem .5rem 0; border-top: 1px solid var(--line); }
caption { text-align: left; }
thead th { border-top: 0; color: var(--dim); font-weight: 600; font-size: .9rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
td code { white-space: nowrap; }
.slots { margin: .5rem 0 1rem; }
.slot {
  display: grid; gap: 0 .75rem; grid-template-columns: repeat(3, minmax(0, 1fr));
  padding: .25rem 0 1rem; border-bottom: 1px solid var(--line);
}
.slot .field { margin-top: .5rem; min-width: 0; }
.slot .field:nth-child(2) { grid-column: span 2; }
@media (min-width: 40rem) {
  .slot { grid-template-columns: 4.5rem minmax(0, 2fr) repeat(3, minmax(0, 1fr)); }
  .slot .field:nth-child(2) { grid-column: auto; }
}
table + .facts, .scroll + .facts { margin-top: .75rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
.facts dt { color: var(--dim); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.tag {
  display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .875rem;
  border: 1px solid currentColor;
}
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; }
]]
