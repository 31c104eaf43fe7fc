//! Tables that fit a terminal.

/// Rows under a header, columns as wide as their widest cell, numbers to the right.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let width = |c: usize| {
        let cells = rows.iter().map(|r| r[c].chars().count());
        cells.chain([header[c].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number =
        |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c));
    let numeric: Vec<bool> =
        (0..columns).map(|c| !rows.is_empty() && rows.iter().all(|r| is_number(&r[c]))).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(c, cell)| {
            let w = widths[c];
            if numeric[c] { format!("{cell:>w$}") } else { format!("{cell:<w$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    let mut out = vec![line(header.to_vec()), rule.join("  ")];
    out.extend(rows.iter().map(|r| line(r.iter().map(String::as_str).collect())));
    out.join("\n")
}

/// A figure with two decimals, or a dash.
pub fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| format!("{v:.2}"))
}

/// A name of at most `most` characters: a longer one loses its middle.
pub fn shortened(name: &str, most: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return name.to_string();
    }
    let kept = most.saturating_sub(2);
    let (head, tail) = (kept - kept / 2, letters.len() - kept / 2);
    letters[..head].iter().chain(&['.', '.']).chain(&letters[tail..]).collect()
}

/// Mean and standard deviation, or a dash.
pub fn mean_sd(mean: Option<f64>, sd: Option<f64>) -> String {
    match (mean, sd) {
        (Some(mean), Some(sd)) => format!("{mean:.3} +- {sd:.3}"),
        (Some(mean), None) => format!("{mean:.3}"),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(shortened("LIDC-IDRI-0001", 14), "LIDC-IDRI-0001");
        assert_eq!(shortened("1.2.840.10008.5", 10), "1.2...08.5");
        assert_eq!(shortened("abc", 2), "..");
    }

    #[test]
    fn text_is_left_and_numbers_are_right() {
        let rows = vec![vec!["ab".into(), "1.5".into()], vec!["c".into(), "12".into()]];
        let got = render(&["name", "n"], &rows);
        assert_eq!(got, "name    n\n----  ---\nab    1.5\nc      12");
    }
}
