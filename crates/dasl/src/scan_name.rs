//! A scan's name as a folder's.

/// A name that leads to no other folder: what is not an ASCII letter, a digit, `-`, `_` or `.`
/// becomes `_`, and so does a dot at its start.
pub fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = text.chars().take(120).map(plain).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

/// The name of a series of a patient who has several: with the end of its UID.
pub fn with_series(patient: &str, series_uid: &str) -> String {
    let from = series_uid.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
    plain(&format!("{patient}_{}", &series_uid[from..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("LIDC-IDRI-0001"), "LIDC-IDRI-0001");
        assert_eq!(plain("../a b/\u{f6}"), "_._a_b__");
        assert_eq!(plain(".."), "_.");
        assert_eq!(with_series("P", "1.2.345678901"), "P_45678901");
        assert_eq!(with_series("P", "1.\u{f6}"), "P_1._");
    }
}
