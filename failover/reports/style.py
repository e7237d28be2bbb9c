"""How a report looks: dark and light by the reader's own setting, on a phone and on paper too."""

STYLE = """
:root { color-scheme: light dark; --paper:#fff; --ink:#1b1f24; --soft:#59636e; --rule:#d1d9e0; --panel:#f6f8fa;
  --good:#0f6b33; --good-bg:#e6f4ea; --bad:#a40e26; --bad-bg:#fdeaec; --mark:#59636e; --limit:#a40e26;
  --s1:#0b62c4; --s2:#b35900; --s3:#0b7a6b; --s4:#8b3fb8; --s5:#a32a5e; --s6:#5a6a00; }
@media (prefers-color-scheme: dark) { :root { --paper:#0d1117; --ink:#e6edf3; --soft:#9da7b3; --rule:#30363d;
  --panel:#161b22; --good:#57d27f; --good-bg:#0f2a18; --bad:#ff8a94; --bad-bg:#34121a; --mark:#9da7b3; --limit:#ff8a94;
  --s1:#6cb2ff; --s2:#f0a35e; --s3:#4fd1bd; --s4:#cf9bf2; --s5:#f288b6; --s6:#c2d25a; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink); font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--rule); }
p { margin: .5rem 0; }
p.good, p.bad { padding: .6rem .8rem; border-left: .3rem solid; border-radius: .25rem; }
p.good { background: var(--good-bg); border-color: var(--good); }
p.bad { background: var(--bad-bg); border-color: var(--bad); }
code, pre { font: .85em/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: .25rem; padding: .6rem .8rem;
  overflow-x: auto; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
td.long { white-space: normal; min-width: 14rem; }
th { color: var(--soft); font-weight: 600; }
td.good { color: var(--good); }
td.bad { color: var(--bad); font-weight: 600; }
ul { padding-left: 1.2rem; }
li { margin: .15rem 0; }
figure { margin: 1rem 0 1.5rem; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
figcaption small { color: var(--soft); font-weight: 400; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .mark { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 2 3; }
svg .mark-word { fill: var(--ink); font-weight: 600; }
svg .limit { stroke: var(--limit); stroke-width: 1; stroke-dasharray: 6 4; }
svg .limit-word { fill: var(--limit); }
svg .line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
svg .dot, svg .area { fill: currentColor; }
svg .area { fill-opacity: .78; stroke: var(--paper); stroke-width: 1; }
.s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); }
.s4 { color: var(--s4); } .s5 { color: var(--s5); } .s6 { color: var(--s6); }
.keys, .marks { list-style: none; padding: 0; margin: .25rem 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem;
  font-size: .85rem; color: var(--soft); }
.key { display: inline-block; width: .8em; height: .8em; border-radius: .15em; background: currentColor; margin-right: .4em; }
.marks b { color: var(--ink); }
details { margin: 2rem 0; }
summary { font-size: 1.15rem; font-weight: 600; cursor: pointer; }
@media (max-width: 40rem) { body { font-size: 15px; } h1 { font-size: 1.25rem; } svg text { font-size: 17px; }
  svg .odd { display: none; }
  .marks { flex-direction: column; } }
@media print { main { max-width: none; } .wide { overflow: visible; } td { white-space: normal; } }
"""
