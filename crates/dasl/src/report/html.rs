//! The page, its sections and tables.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// All of the page's style: no file beside it, no font, no script.
const STYLE: &str = include_str!("style.css");

/// A part of the page.
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What stands in it.
    pub body: Markup,
}

/// The page.
pub fn page(title: &str, about: &Markup, sections: &[Section]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                // Keeps a browser from asking for one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (about)
                    nav aria-label="Sections" {
                        @for section in sections {
                            a href={ "#" (section.id) } { (section.title) } " "
                        }
                    }
                }
                main {
                    @for section in sections {
                        section id=(section.id) {
                            h2 { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { p { "dasl " (env!("CARGO_PKG_VERSION")) ". Not for clinical use." } }
            }
        }
    }
}

/// A table that scrolls sideways where it is wider than the page. Columns of figures stand to the
/// right.
pub fn table(name: &str, header: &[&str], rows: &[Vec<String>]) -> Markup {
    let is_figure = |text: &str| {
        text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c))
    };
    let figures: Vec<bool> = (0..header.len())
        .map(|column| rows.iter().all(|row| row.get(column).is_none_or(|cell| is_figure(cell))))
        .collect();
    let class = |column: usize| figures.get(column).copied().unwrap_or(false).then_some("n");
    html! {
        div.wide tabindex="0" role="region" aria-label=(name) {
            table {
                thead { tr {
                    @for (i, cell) in header.iter().enumerate() {
                        th scope="col" class=[class(i)] { (cell) }
                    }
                } }
                tbody {
                    @for row in rows {
                        tr { @for (i, cell) in row.iter().enumerate() { td class=[class(i)] { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Something long, folded.
pub fn folded(name: &str, body: &Markup) -> Markup {
    html! { details { summary { (name) } (body) } }
}

/// A figure of some decimals, or a dash.
pub fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.digits$}"))
}

/// Mean and standard deviation, or a dash.
pub fn mean_sd(mean: Option<f64>, sd: Option<f64>) -> String {
    match (mean, sd) {
        (Some(mean), Some(sd)) => format!("{mean:.2} ± {sd:.2}"),
        (mean, _) => figure(mean, 2),
    }
}
