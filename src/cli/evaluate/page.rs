//! The report as one HTML file that needs nothing else: the table, and plots as SVG.

use std::fmt::Write;

use super::plots::{self, Plot};
use super::print::Text;
use super::report::Report;
use super::sheet::Sheet;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;\
padding:0 1rem;color:#1c2733}pre{background:#f3f5f7;padding:1rem;overflow-x:auto;font-size:13px}\
.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{color:#56636f}\
svg{max-width:100%;height:auto}";

/// The page; plots that the data cannot fill are left out.
pub(super) fn page(report: &Report, sheet: &Sheet) -> anyhow::Result<String> {
    let title = escape(&format!("{} {}", report.model.name, report.model.version));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<pre>{}</pre>\n<div class=\"plots\">\n",
        escape(&Text(report).to_string()),
    );
    for Plot { svg, caption } in plots::all(sheet)? {
        writeln!(page, "<figure>{svg}<figcaption>{}</figcaption></figure>", escape(&caption))?;
    }
    page.push_str("</div></body></html>\n");
    Ok(page)
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
