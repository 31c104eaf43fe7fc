//! Values of header fields.

use super::HeaderError;

/// `N` finite numbers, separated by white space.
///
/// # Errors
/// If it is anything else.
pub(crate) fn numbers<const N: usize>(
    field: &'static str,
    text: &str,
) -> Result<[f64; N], HeaderError> {
    let mut words = text.split_ascii_whitespace();
    let mut read = || words.next()?.parse::<f64>().ok().filter(|v| v.is_finite());
    let mut out = [0.0; N];
    let complete = out.iter_mut().all(|number| read().map(|v| *number = v).is_some());
    if !complete || words.next().is_some() {
        let wanted = match N {
            1 => "one number",
            3 => "three numbers",
            _ => "nine numbers",
        };
        return Err(HeaderError::value(field, text, wanted));
    }
    Ok(out)
}

/// Voxels along x, y and z, turned to [z, y, x].
///
/// # Errors
/// If they are not three whole numbers above 0, or more voxels of `sample_bytes` than a memory can
/// address.
pub(crate) fn sizes(
    field: &'static str,
    text: &str,
    sample_bytes: usize,
) -> Result<[usize; 3], HeaderError> {
    let read = |word: &str| word.parse::<usize>().ok().filter(|n| *n > 0);
    let sizes: Option<Vec<usize>> = text.split_ascii_whitespace().take(4).map(read).collect();
    let Some(&[x, y, z]) = sizes.as_deref() else {
        return Err(HeaderError::value(field, text, "three whole numbers above 0"));
    };
    let bytes = z.checked_mul(y).and_then(|n| n.checked_mul(x));
    let bytes = bytes.and_then(|n| n.checked_mul(sample_bytes.max(2)));
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok([z, y, x]),
        _ => Err(HeaderError::TooLarge([z, y, x])),
    }
}

/// The texts between pairs of quotation marks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_and_finite() {
        assert_eq!(numbers::<3>("Offset", " -1.5  2e3 0 "), Ok([-1.5, 2000.0, 0.0]));
        for wrong in ["1 2", "1 2 3 4", "1 2 nan", "1 inf 3", "1 2 x", ""] {
            assert!(numbers::<3>("Offset", wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            numbers::<3>("Offset", "1 2").unwrap_err().to_string(),
            "Offset is \"1 2\", not three numbers; correct the header"
        );
    }

    #[test]
    fn sizes_turn_round_and_do_not_overflow() {
        assert_eq!(sizes("sizes", "4 3 2", 2), Ok([2, 3, 4]));
        for wrong in ["4 3", "4 3 2 1", "4 3 0", "4 3 -2", "4 3 2.5"] {
            assert!(sizes("sizes", wrong, 2).is_err(), "{wrong}");
        }
        let large = sizes("sizes", "4294967296 4294967296 4294967296", 1);
        assert_eq!(large, Err(HeaderError::TooLarge([1 << 32; 3])));
        // 2^62 bytes can be addressed, 2^63 can't.
        assert!(sizes("sizes", "2147483648 1073741824 1", 2).is_ok());
        assert!(sizes("sizes", "2147483648 1073741824 1", 4).is_err());
    }
}
