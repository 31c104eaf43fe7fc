//! Names of samples as names of files, and back.

/// A sample's name with every byte that a file's name should not hold as `%XX`; also a point at the
/// beginning, which hides a file. Different names stay different.
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (i, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'#');
        if plain || (byte == b'.' && i > 0) {
            escaped.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half)]);
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    escaped
}

/// The name that was escaped; `None` if this is no escaped name.
pub fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut parts = escaped.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part[2..].bytes());
    }
    let name = String::from_utf8(bytes).ok()?;
    (escape(&name) == escaped).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_and_is_fit_for_a_file() {
        let names = [
            "LIDC-IDRI-0001#3",
            "../a/b",
            "a b",
            "100%",
            "%41",
            ".hidden",
            "Ü",
            "a:b\\c",
            "",
            "a\n",
        ];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let escaped = escape(name);
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
            assert!(!escaped.contains(['/', '\\', ':', ' ', '\n']), "{escaped}");
            assert!(!escaped.starts_with('.') && escaped.is_ascii());
            assert!(seen.insert(escaped));
        }
        assert_eq!(escape("LIDC-IDRI-0001#3"), "LIDC-IDRI-0001#3");
        for wrong in ["%4", "%zz", "a b", "%41", "%2f"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }
}
