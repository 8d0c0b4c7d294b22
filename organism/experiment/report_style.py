"""The look of a report: paper, ink and teal, the same inks as the pages; dark on screen only, A4 in print."""

STYLE = """
:root{color-scheme:light;--paper:#fcfbf8;--card:#f5f3ec;--ink:#0f1715;--muted:#5b6b66;--line:#dedace;
--treatment:#0f766e;--control:#64748b;--good:#047857;--bad:#be123c;--warn:#b45309;--violet:#6d28d9}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--paper:#0e1513;--card:#17211e;--ink:#e7efec;
--muted:#9db0aa;--line:#2a3733;--treatment:#2dd4bf;--control:#94a3b8;--good:#34d399;--bad:#fb7185;--warn:#fbbf24;
--violet:#a78bfa}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
main{max-width:800px;margin:0 auto;padding:40px 28px 56px}
h1{font-size:28px;line-height:1.2;margin:4px 0 6px;letter-spacing:-.01em}
header{margin-bottom:16px}
h2{font-size:17px;margin:26px 0 8px;padding-top:16px;border-top:1px solid var(--line)}
p{margin:6px 0}
.over{color:var(--muted);font-size:13px;margin:0}
.small,figcaption,.legend{color:var(--muted);font-size:13px}
.verdict{border:1px solid var(--line);border-left:5px solid var(--tone);background:var(--card);border-radius:10px;
padding:14px 18px}
.verdict .word{display:flex;align-items:center;gap:8px;color:var(--tone);font-weight:650;font-size:18px}
.verdict .word svg{width:20px;height:20px;flex:none}
.verdict .lead{font-weight:600;font-size:16px;margin:6px 0 2px}
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.warn{--tone:var(--warn)}.quiet{--tone:var(--control)}
.violet{--tone:var(--violet)}
.badge{display:inline-block;border:1px solid var(--tone);color:var(--tone);border-radius:99px;padding:0 9px;
font-size:12px;line-height:20px;white-space:nowrap}
.state{color:var(--tone);font-weight:600;white-space:nowrap}
.tiles{display:grid;grid-template-columns:1.35fr 1fr 1fr 1fr;gap:10px;margin:14px 0 0}
.tile{border:1px solid var(--line);border-radius:10px;padding:9px 12px}
.tile b{display:block;font-size:21px;line-height:1.3;font-weight:650}
.tile span{display:block;color:var(--muted);font-size:12.5px;line-height:1.4}
table{border-collapse:collapse;width:100%;font-size:13.5px;margin:8px 0}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--muted);font-size:12.5px}
td.n,th.n{text-align:right}
td:last-child,th:last-child{padding-right:0}
figure{margin:10px 0}
figcaption{margin-top:2px}
.legend{display:flex;gap:16px;flex-wrap:wrap}
.legend i{display:inline-block;width:14px;height:10px;margin-right:6px;border-radius:2px;background:var(--treatment)}
.legend .a{opacity:.22}.legend .f{opacity:.45}.legend .e{height:3px;vertical-align:middle}
svg.chart{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--ink);font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
svg .tick,svg .note{fill:var(--muted);font-size:11.5px}
svg .head{font-weight:650}
svg .figure{font-variant-numeric:tabular-nums}
svg .grid{stroke:var(--line);stroke-width:1}
svg .rule{stroke-width:1.3}
svg .whisker{stroke-width:2.2;fill:none;stroke-linecap:round}
svg .hollow{fill:var(--paper);stroke-width:2.2}
svg .band{fill:var(--treatment)}svg .always{opacity:.14}svg .fixed{opacity:.24}
svg .effect{fill:none;stroke:var(--treatment);stroke-width:2.4;stroke-linejoin:round}
.treatment-ink{stroke:var(--treatment)}.treatment-fill{fill:var(--treatment)}svg .treatment-text{fill:var(--treatment)}
.control-ink{stroke:var(--control)}.control-fill{fill:var(--control)}svg .control-text{fill:var(--control)}
.good-ink{stroke:var(--good)}.good-fill{fill:var(--good)}svg .good-text{fill:var(--good)}
.warn-ink{stroke:var(--warn)}.warn-fill{fill:var(--warn)}svg .warn-text{fill:var(--warn)}
.bad-ink{stroke:var(--bad)}.bad-fill{fill:var(--bad)}svg .bad-text{fill:var(--bad)}
ul,ol{margin:6px 0;padding-left:28px}
li{margin:2px 0}
li.fired{font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:8px 0;font-size:13.5px}
dt{color:var(--muted)}dd{margin:0}
pre,code{font-family:ui-monospace,"SF Mono","JetBrains Mono",Menlo,Consolas,"Liberation Mono",monospace}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;font-size:11px;line-height:1.45;
white-space:pre-wrap;overflow-wrap:anywhere}
code{font-size:12.5px;overflow-wrap:anywhere}
.wide{overflow-x:auto}
@media (max-width:640px){main{padding:22px 16px 40px}.tiles{grid-template-columns:1fr 1fr}}
@page{size:A4;margin:16mm 15mm 18mm;@bottom-right{content:counter(page) " / " counter(pages);font:9pt system-ui,
sans-serif;color:#5b6b66}}
@media print{:root{--paper:#fff;--card:#f6f5f1}body{font-size:9.5pt;line-height:1.42}main{max-width:none;padding:0}
h1{font-size:18pt}h2{font-size:11.5pt;break-after:avoid;margin-top:14px;padding-top:10px}table,dl{font-size:8.6pt}
th,.small,figcaption,.legend,.over{font-size:8.4pt}th,td{padding-top:3px;padding-bottom:3px}.tile b{font-size:13pt}
.tile span{font-size:8pt}.verdict .word{font-size:12.5pt}.verdict .lead{font-size:10.5pt}.wide{overflow:visible}
h2+p:not(:last-child){break-after:avoid}p{break-inside:avoid}
figure,tr,li,.verdict,.tiles,.keep{break-inside:avoid}thead{display:table-header-group}pre{columns:2;column-gap:7mm;font-size:6.8pt}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
