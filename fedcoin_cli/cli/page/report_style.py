"""How a report looks: one style sheet for screens in light and dark, and for paper."""

STYLE = """\
:root {
  --paper: #ffffff; --ink: #1b1f24; --soft: #5a6370; --rule: #e3e6ea; --axis: #9aa3ad; --card: #f6f7f9;
  --value: #2f6fb3; --paid: #3d8f6b; --loss: #c4572f; --miner: #8f99a6; --winner: #2f6fb3; --server: #9467bd;
  --limit: #c4572f; --good: #2e7d54; --bad: #b3372a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e6e9ed; --soft: #9aa4b0; --rule: #2a3038; --axis: #5d6773; --card: #1c2127;
    --value: #6aa7e8; --paid: #62b892; --loss: #e8835c; --miner: #7b8694; --winner: #6aa7e8; --server: #b795dc;
    --limit: #e8835c; --good: #62b892; --bad: #ef8073;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem 3rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif;
}
h1 { font-size: 1.6rem; margin: 0 0 .8rem; font-weight: 650; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
code, dd { font-family: ui-monospace, "SF Mono", Menlo, "Liberation Mono", monospace; font-size: .9em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
a { color: var(--value); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.good, .bad { padding: .7rem 1rem; border-left: 4px solid var(--good); background: var(--card); }
.bad { border-color: var(--bad); }
.good strong { color: var(--good); }
.bad strong { color: var(--bad); }
.facts, .note, footer { color: var(--soft); }
.note { font-size: .88rem; margin: .2rem 0 .8rem; }
figure { margin: 1.4rem 0 .4rem; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
svg { display: block; width: 100%; height: auto; max-width: 860px; }
text { fill: var(--ink); font-size: 12px; font-family: inherit; }
.number { font-variant-numeric: tabular-nums; }
.tick, .head { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--rule); fill: none; }
.axis { stroke: var(--axis); fill: none; }
.value { fill: var(--value); }
.loss { fill: var(--loss); }
.paid { fill: var(--paid); }
.miner { fill: var(--miner); }
.winner { fill: var(--winner); }
.whisker { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.limit { stroke: var(--limit); stroke-dasharray: 4 3; fill: none; }
.limit-name { fill: var(--limit); }
.winner-name { fill: var(--winner); }
.miner-line, .winner-line, .client-line, .server-line, .holder-line, .other-line {
  fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke: var(--miner);
}
.miner-line { opacity: .75; }
.winner-line { stroke: var(--winner); stroke-width: 2; }
.client-line { stroke: var(--paid); }
.server-line { stroke: var(--server); }
.holder-line { stroke: var(--ink); }
.legend { margin: 0 0 .4rem; color: var(--soft); font-size: .88rem; }
.legend span { margin-right: 1.2rem; padding-left: 1.6rem; background: no-repeat left center / 1.1rem 3px; }
.client-key { background-image: linear-gradient(var(--paid), var(--paid)) !important; }
.miner-key, .other-key { background-image: linear-gradient(var(--miner), var(--miner)) !important; }
.server-key { background-image: linear-gradient(var(--server), var(--server)) !important; }
/* Shadows at the edges tell that there is more to the side: they scroll away where there is not. */
.wide {
  overflow-x: auto;
  background:
    linear-gradient(to right, var(--paper) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 40%, transparent) right / 2.5rem 100% no-repeat local,
    radial-gradient(farthest-side at 0 50%, var(--axis), transparent) left / .7rem 100% no-repeat scroll,
    radial-gradient(farthest-side at 100% 50%, var(--axis), transparent) right / .7rem 100% no-repeat scroll;
}
.wide > svg { min-width: 720px; }
.dash-1 { stroke-dasharray: 7 3; }
.dash-2 { stroke-dasharray: 2 3; }
.dash-3 { stroke-dasharray: 9 3 2 3; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; min-width: 24rem; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 500; text-align: left; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); font-size: .88rem; }
/* Last, because of two rules that are equally particular the later one holds. */
@media (max-width: 40rem) {
  body { padding: 1rem .9rem 2rem; }
  dl { grid-template-columns: 1fr; }
}
@media print {
  :root {
    --paper: #ffffff; --ink: #000000; --soft: #444444; --rule: #dddddd; --axis: #888888; --card: #ffffff;
    --value: #2f6fb3; --paid: #3d8f6b; --loss: #c4572f; --miner: #8f99a6; --winner: #2f6fb3; --server: #9467bd;
    --limit: #c4572f; --good: #2e7d54; --bad: #b3372a;
  }
  body { font-size: 10pt; line-height: 1.35; max-width: none; padding: 0; }
  figure, tr, header { break-inside: avoid; }
  h2, .facts, .note, figcaption, summary { break-after: avoid; }
  .wide { overflow: visible; background: none; }
  .wide > svg { min-width: 0; max-width: 100%; max-height: 12cm; }
  h2 { margin-top: 1.4rem; padding-top: .6rem; }
  p { orphans: 3; widows: 3; }
  thead { display: table-header-group; }
  details::details-content { content-visibility: visible; height: auto; }
  rect, path { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
