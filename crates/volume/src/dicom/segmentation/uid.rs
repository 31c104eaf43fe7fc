//! Identifiers that follow from what they name.

use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use sha2::{Digest, Sha256};

/// The identifiers of one object.
pub(super) struct Uids {
    /// Hash of the content; `None` while the content is being hashed.
    content: Option<String>,
}

impl Uids {
    /// A place holder, the same for all.
    pub fn none() -> Self {
        Self { content: None }
    }

    /// The identifiers of an object whose own say [`Uids::none`].
    pub fn of(draft: &InMemDicomObject, pixels: &[u8]) -> Result<Self, String> {
        let mut bytes = Vec::new();
        draft
            .write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|error| error.to_string())?;
        let hash = Sha256::new().chain_update(&bytes).chain_update(pixels).finalize();
        Ok(Self { content: Some(format!("{hash:x}")) })
    }

    /// `SOPInstanceUID`.
    pub fn instance(&self) -> String {
        self.uid("instance")
    }

    /// `SeriesInstanceUID`.
    pub fn series(&self) -> String {
        self.uid("series")
    }

    /// `DimensionOrganizationUID`.
    pub fn dimensions(&self) -> String {
        self.uid("dimensions")
    }

    /// `TrackingUID` of a segment.
    pub fn of_segment(&self, number: u16) -> String {
        self.uid(&format!("segment {number}"))
    }

    fn uid(&self, what: &str) -> String {
        self.content.as_ref().map_or_else(|| "2.25.0".into(), |content| Self::named(what, content))
    }

    /// "2.25.n" (PS3.5, B.2): n is a UUID of version 8 (RFC 9562), the beginning of a SHA-256.
    pub fn named(what: &str, of: &str) -> String {
        let hash = Sha256::digest(format!("dasl {what} {of}"));
        let number = hash.iter().take(16).fold(0_u128, |n, byte| n << 8 | u128::from(*byte));
        let version = number & !(0xF << 76) | 8 << 76;
        let variant = version & !(0b11 << 62) | 0b10 << 62;
        format!("2.25.{variant}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_valid_and_differ_by_what_they_name() {
        let (one, other) = (Uids::named("series", "1.2.3"), Uids::named("instance", "1.2.3"));
        assert_ne!(one, other);
        assert_eq!(one, Uids::named("series", "1.2.3"));
        assert_ne!(one, Uids::named("series", "1.2.4"));
        assert!(one.len() <= 64 && one.bytes().all(|b| b == b'.' || b.is_ascii_digit()));
        let n: u128 = one["2.25.".len()..].parse().unwrap();
        assert_eq!((n >> 76 & 0xF, n >> 62 & 0b11), (8, 0b10));
    }
}
