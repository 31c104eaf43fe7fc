//! `report.html`: one file that shows what was run and how it did.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use dasl_learn::state::{RoundKind, RunState};
use dasl_learn::{Entry, Usage};

use crate::charts::learning_curve;
use crate::command::evaluate::Evaluation;
use crate::config_file::Settings;
use crate::outline_picture::Picture;

/// A nodule's picture and what it shows.
pub struct Figure {
    /// What it shows, in a line.
    pub caption: String,
    /// The picture.
    pub picture: Picture,
}

/// All that goes into the report.
pub struct Content<'a> {
    /// What was run, in a sentence.
    pub about: String,
    /// Its settings.
    pub settings: &'a Settings,
    /// The learning loop.
    pub state: &'a RunState,
    /// Its ledger.
    pub ledger: &'a [Entry],
    /// Results on scans that were not learnt from.
    pub evaluation: &'a Evaluation,
    /// Nodules.
    pub figures: &'a [Figure],
}

/// Writes the report, self-contained.
///
/// # Errors
/// If it can't be drawn or written.
pub fn write(path: &Path, content: &Content) -> Result<()> {
    let html = html(content)?;
    dasl_volume::write_atomic(path, |file| file.write_all(html.as_bytes()))
        .with_context(|| path.display().to_string())
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#1c2430;background:#fff}h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.2rem;\
margin-top:2.2rem;border-bottom:1px solid #d5dae1;padding-bottom:.2rem}.wide{overflow-x:auto}\
table{border-collapse:collapse;font-size:.9rem}th,td{padding:.25rem .8rem .25rem 0;text-align:left;\
border-bottom:1px solid #e6e9ee;white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums}\
figure{margin:1rem 0}figure img,figure svg{max-width:100%;height:auto}figcaption{font-size:.9rem;\
color:#47515f}pre{background:#f5f6f8;padding:.8rem;overflow-x:auto;font-size:.8rem}\
dl.key{display:flex;flex-wrap:wrap;gap:.6rem 2rem}dl.key dt{font-size:.8rem;color:#47515f}\
dl.key dd{margin:0;font-size:1.4rem;font-weight:600}@media print{figure{break-inside:avoid}}";

fn html(content: &Content) -> Result<String> {
    let mut out = String::new();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>dasl report</title><style>{STYLE}</style></head><body>\
         <h1>dasl report</h1><p>{}</p>",
        escaped(&content.about)
    )?;
    summary(&mut out, content.evaluation)?;
    nodules(&mut out, content)?;
    curve(&mut out, content.state)?;
    ledger(&mut out, content)?;
    write!(
        out,
        "<h2>Settings</h2><details><summary>Everything that was set</summary><pre>{}</pre>\
         </details><p>dasl {}. Not for clinical use.</p></body></html>",
        escaped(&toml::to_string_pretty(content.settings)?),
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(out)
}

fn summary(out: &mut String, evaluation: &Evaluation) -> Result<()> {
    let s = &evaluation.summary;
    let figure = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.2}"));
    write!(out, "<h2>Scans that were not learnt from</h2><dl class=\"key\">")?;
    for (name, value) in [
        ("scans", s.scans.to_string()),
        ("nodules", s.nodules.to_string()),
        ("Dice (a miss is 0)", figure(s.dice_mean)),
        ("TP Dice", figure(s.tp_dice_mean)),
        ("hit rate", figure(s.hit_rate)),
        ("false positives/scan", figure(s.false_positives_per_scan)),
    ] {
        write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    write!(
        out,
        "</dl><p>Matching rule: {}. Consensus rule: {}.</p>",
        escaped(evaluation.matching),
        escaped(&evaluation.consensus)
    )?;
    Ok(())
}

fn nodules(out: &mut String, content: &Content) -> Result<()> {
    write!(
        out,
        "<h2>Nodules</h2><p>Axial, coronal and sagittal. \
         <b style=\"color:#0a8a9a\">Cyan</b>: the readers' consensus. \
         <b style=\"color:#a87f00\">Yellow</b>: the network.</p>"
    )?;
    for figure in content.figures {
        let caption = escaped(&figure.caption);
        write!(
            out,
            "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{}\">\
             <figcaption>{caption}</figcaption></figure>",
            base64(&figure.picture.png()?)
        )?;
    }
    Ok(())
}

fn curve(out: &mut String, state: &RunState) -> Result<()> {
    let svg = learning_curve(&state.history)?;
    let values = state.history.iter().map(|r| format!("round {} {:.2}", r.round, r.score.value));
    let text = format!("Validation Dice: {}", values.collect::<Vec<_>>().join(", "));
    let svg = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{text}\" "), 1);
    write!(
        out,
        "<h2>Learning curve</h2><figure>{svg}<figcaption>Validation Dice after each round. Solid: \
         self-paced rounds, which take what the network is sure of. Dotted: active rounds, which \
         ask a reader. In brackets: annotated + pseudo-labelled samples.</figcaption></figure>\
         <div class=\"wide\"><table><tr><th>round</th><th>does</th><th class=\"n\">annotated</th>\
         <th class=\"n\">pseudo-labelled</th><th class=\"n\">sum of v</th><th class=\"n\">lambda</th>\
         <th class=\"n\">Dice</th></tr>"
    )?;
    for r in &state.history {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{:.1}</td><td class=\"n\">{:.4}</td><td class=\"n\">{:.3}</td></tr>",
            r.round, r.kind, r.annotated, r.pseudo, r.weight_sum, r.lambda, r.score.value
        )?;
    }
    write!(out, "</table></div>")?;
    Ok(())
}

/// What the reader was asked for, and why.
fn ledger(out: &mut String, content: &Content) -> Result<()> {
    let asked = content.ledger.iter().filter(|e| e.kind == RoundKind::Al);
    write!(
        out,
        "<h2>What the reader was asked for</h2><div class=\"wide\"><table><tr><th>round</th>\
         <th>sample</th><th class=\"n\">uncertainty</th><th class=\"n\">density</th>\
         <th class=\"n\">score</th><th class=\"n\">Dice of its earlier pseudo-label</th></tr>"
    )?;
    let number = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
    for entry in asked {
        if let Usage::Annotated { score, uncertainty, density, audit, .. } = &entry.usage {
            write!(
                out,
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{uncertainty:.4}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                entry.round,
                escaped(entry.sample.as_str()),
                number(*density),
                number(*score),
                number(audit.as_ref().map(|a| a.audit.dice))
            )?;
        }
    }
    write!(out, "</table></div>")?;
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
