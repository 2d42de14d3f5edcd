//! The report as one HTML file that needs nothing else: the table, and plots as SVG.

use std::fmt::Write;

use super::course;
use super::plots::{self, Plot};
use super::print::Text;
use super::report::Report;
use super::sheet::Sheet;
use crate::evaluate::{Classes, ratio};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;\
padding:0 1rem;color:#1c2733}pre{background:#f3f5f7;padding:1rem;overflow-x:auto;font-size:13px}\
.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:23rem}figcaption{color:#56636f}\
.wide{overflow-x:auto;max-width:100%}svg{display:block;max-width:100%;height:auto}.wide svg{min-width:44rem}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;text-align:right;border:1px solid #dde2e7;\
font-variant-numeric:tabular-nums}th{font-weight:600;text-align:left}caption{text-align:left;color:#56636f}";

/// The page; plots that the data cannot fill are left out.
pub(super) fn page(report: &Report, sheet: &Sheet) -> anyhow::Result<String> {
    let title = escape(&format!("{} {}", report.model.name, report.model.version));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<pre>{}</pre>\n<div class=\"plots\">\n",
        escape(&Text(report).to_string()),
    );
    for Plot { svg, caption, wide } in plots::all(sheet)?.into_iter().chain(course::all(sheet)?) {
        let class = if wide { " class=\"wide\"" } else { "" };
        let caption = escape(&caption);
        writeln!(page, "<figure{class}>{svg}<figcaption>{caption}</figcaption></figure>")?;
    }
    page.push_str("</div>\n");
    if let Some(classes) = &report.classes {
        matrix(&mut page, &classes.table)?;
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

/// Who is taken for whom; the darker, the more of the row.
fn matrix(page: &mut String, table: &Classes) -> std::fmt::Result {
    page.push_str(
        "<table><caption>Rows: the truth. Columns: what it is taken for.</caption><tr><th></th>",
    );
    for label in &table.labels {
        write!(page, "<th>{}</th>", escape(label))?;
    }
    for (label, counts) in table.labels.iter().zip(&table.confusion) {
        write!(page, "</tr>\n<tr><th>{}</th>", escape(label))?;
        let all = counts.iter().sum();
        for count in counts {
            let share = ratio(*count, all).unwrap_or(0.0) * 0.6;
            write!(page, "<td style=\"background:rgba(31,98,168,{share:.3})\">{count}</td>")?;
        }
    }
    page.push_str("</tr></table>\n");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_from_files_cannot_become_markup() {
        assert_eq!(super::escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
