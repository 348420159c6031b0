"""The style of the HTML report: dark text on white, marks beside colours, breaks between sections when printed."""

from __future__ import annotations

STYLE = """
:root { --ok: #14703a; --warning: #8a5a00; --error: #b3261e; --info: #5b6472; --line: #d9dee5; --soft: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem; max-width: 62rem; color: #1b2430; background: #fff;
       font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
p { margin: .3rem 0; }
.when, .legend, small, footer, .where { color: var(--info); font-size: .87rem; }
.verdict { margin: 1rem 0; padding: .7rem 1rem; border-left: 5px solid var(--info); background: var(--soft); }
.verdict.deliver { border-color: var(--ok); } .verdict.hold { border-color: var(--warning); }
.verdict.return { border-color: var(--error); }
pre { margin: .2rem 0 .6rem; padding: .6rem .8rem; background: var(--soft); border: 1px solid var(--line); border-radius: 4px;
      font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
ol > li { margin: .9rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead th { background: var(--soft); font-weight: 600; }
thead th, td.short { white-space: nowrap; }
.domains tbody th { min-width: 13rem; font-weight: 600; }
.matrix td.deliver { color: var(--ok); } .matrix td.hold { color: var(--warning); } .matrix td.return { color: var(--error); }
.matrix td.asked { font-weight: 700; outline: 2px solid currentColor; outline-offset: -2px; }
.checks, .checks ul { list-style: none; margin: 0; padding-left: 1.2rem; }
.checks { padding-left: 0; }
.checks ul { border-left: 1px solid var(--line); margin-left: .35rem; }
.checks > li { margin: .6rem 0; }
.checks li { overflow-wrap: anywhere; }
.fact { color: var(--info); font-size: .87rem; }
.mark { display: inline-block; width: 1em; font-weight: 700; }
.ok > .mark, .mark.ok, span.ok { color: var(--ok); } .mark.warning, span.warning { color: var(--warning); }
.mark.error, span.error { color: var(--error); } .mark.info, span.info { color: var(--info); }
.to { white-space: nowrap; }
.whose { border: 1px solid var(--line); border-radius: 3px; padding: 0 .35rem; font-size: .8rem; color: var(--info); }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .6rem; }
main + main { margin-top: 3rem; padding-top: 2rem; border-top: 3px solid var(--line); }
@media print { body { padding: 0; max-width: none; font-size: 11px; } pre, .verdict, ol > li { break-inside: avoid; }
               main + main { break-before: page; border: 0; } }
"""
