//! The words of NRRD: names of fields, types and spaces, and vectors.

use crate::voxel_file::{HeaderError, Sample};

/// The fields of the format; a header with another is damaged or misspelt.
const FIELDS: [(&str, &[&str]); 30] = [
    ("dimension", &[]),
    ("type", &[]),
    ("block size", &["blocksize"]),
    ("encoding", &[]),
    ("endian", &[]),
    ("content", &[]),
    ("min", &[]),
    ("max", &[]),
    ("old min", &["oldmin"]),
    ("old max", &["oldmax"]),
    ("data file", &["datafile"]),
    ("line skip", &["lineskip"]),
    ("byte skip", &["byteskip"]),
    ("number", &[]),
    ("sample units", &["sampleunits"]),
    ("sizes", &[]),
    ("spacings", &[]),
    ("thicknesses", &[]),
    ("axis mins", &["axismins"]),
    ("axis maxs", &["axismaxs"]),
    ("centers", &["centerings"]),
    ("labels", &[]),
    ("units", &[]),
    ("kinds", &[]),
    ("space", &[]),
    ("space dimension", &["spacedimension"]),
    ("space units", &["spaceunits"]),
    ("space origin", &["spaceorigin"]),
    ("space directions", &["spacedirections"]),
    ("measurement frame", &["measurementframe"]),
];

/// The field that a header's line names; case does not count.
pub(super) fn name(text: &str) -> Option<&'static str> {
    let text = text.trim().to_ascii_lowercase();
    let called = |(name, others): &&(&'static str, &[&str])| {
        *name == text || others.contains(&text.as_str())
    };
    FIELDS.iter().find(called).map(|(name, _)| *name)
}

/// The type of a sample by any of its names; `char` alone is none, for its sign is open.
pub(super) fn sample(text: &str) -> Result<Sample, HeaderError> {
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
    Ok(match words.join(" ").as_str() {
        "signed char" | "int8" | "int8_t" => Sample::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Sample::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            Sample::I16
        }
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Sample::U16,
        "int" | "signed int" | "int32" | "int32_t" => Sample::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Sample::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => Sample::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            Sample::U64
        }
        "float" => Sample::F32,
        "double" => Sample::F64,
        _ => {
            let todo = "write it as int16, or uint16 for labels";
            return Err(HeaderError::unsupported("type", text, todo));
        }
    })
}

/// What turns coordinates of a space into LPS.
pub(super) fn to_lps(space: &str) -> Result<[f64; 3], HeaderError> {
    match space.to_ascii_lowercase().as_str() {
        "left-posterior-superior" | "lps" => Ok([1.0, 1.0, 1.0]),
        "right-anterior-superior" | "ras" => Ok([-1.0, -1.0, 1.0]),
        "left-anterior-superior" | "las" => Ok([1.0, -1.0, 1.0]),
        _ => {
            let todo = "write it in left-posterior-superior";
            Err(HeaderError::unsupported("space", space, todo))
        }
    }
}

/// `N` vectors such as `(0.7,0,0)`, finite.
pub(super) fn vectors<const N: usize>(
    field: &'static str,
    text: &str,
) -> Result<[[f64; 3]; N], HeaderError> {
    let read = || {
        let mut out = [[0.0; 3]; N];
        let mut rest = text.trim();
        for vector in &mut out {
            let (inner, after) = rest.strip_prefix('(')?.split_once(')')?;
            rest = after.trim_start();
            let mut numbers = inner.split(',').map(|word| word.trim().parse::<f64>().ok());
            for number in vector.iter_mut() {
                *number = numbers.next()??;
            }
            if numbers.next().is_some() {
                return None;
            }
        }
        let finite = out.iter().flatten().all(|v| v.is_finite());
        (rest.is_empty() && finite).then_some(out)
    };
    let wanted = if N == 1 { "one vector (x,y,z)" } else { "three vectors (x,y,z)" };
    read().ok_or_else(|| HeaderError::value(field, text, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_synonyms() {
        assert_eq!(name("DataFile"), Some("data file"));
        assert_eq!(name("space directions"), Some("space directions"));
        assert_eq!(name("spaces"), None);
        assert_eq!(sample("Unsigned  Short"), Ok(Sample::U16));
        assert_eq!(sample("signed long long int"), Ok(Sample::I64));
        assert_eq!(
            sample("char").unwrap_err().to_string(),
            "type char is not read; write it as int16, or uint16 for labels"
        );
    }

    #[test]
    fn vectors_are_counted_and_finite() {
        let two = vectors::<2>("space directions", " (1,2, 3)(-4e1,5,6) ");
        assert_eq!(two, Ok([[1.0, 2.0, 3.0], [-40.0, 5.0, 6.0]]));
        for wrong in ["(1,2,3)", "(1,2) (3,4)", "(1,2,3) (4,5,6,7)", "(1,2,3) none", "(1,2,nan)"] {
            assert!(vectors::<2>("space directions", wrong).is_err(), "{wrong}");
        }
        assert!(vectors::<1>("space origin", "(1,2,3) (4,5,6)").is_err());
        assert!(vectors::<1>("space origin", "(1,inf,3)").is_err());
    }
}
