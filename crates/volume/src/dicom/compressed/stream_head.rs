//! What a compressed stream says about itself, before a decoder is trusted with it.

use dicom_dictionary_std::uids;

/// Size and depth from the head of a JPEG or JPEG 2000 stream.
#[derive(Debug, PartialEq)]
pub(super) struct StreamHead {
    rows: usize,
    columns: usize,
    components: usize,
    bits: u32,
    /// Whether samples of at most 8 bits come out of the decoder as single bytes.
    has_narrow_bytes: bool,
}

impl StreamHead {
    /// Whether a transfer syntax is one of JPEG 2000, high throughput included.
    pub fn is_jpeg_2000(syntax: &str) -> bool {
        matches!(
            syntax,
            uids::JPEG2000_LOSSLESS
                | uids::JPEG2000
                | uids::JPEG2000MC_LOSSLESS
                | uids::JPEG2000MC
                | uids::HTJ2K_LOSSLESS
                | uids::HTJ2K_LOSSLESS_RPCL
                | uids::HTJ2K
        )
    }

    /// The head of a stream of this transfer syntax; nothing for a syntax that has none.
    pub fn of(syntax: &str, stream: &[u8]) -> Result<Option<Self>, String> {
        let head = match syntax {
            uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_LOSSLESS
            | uids::JPEG_LOSSLESS_SV1 => Self::of_jpeg(stream),
            _ if Self::is_jpeg_2000(syntax) => Self::of_jpeg_2000(stream),
            _ => return Ok(None),
        };
        head.map(Some).ok_or_else(|| "the stream has no head".into())
    }

    /// The frame header among the markers (ITU-T T.81, B.2.2).
    fn of_jpeg(stream: &[u8]) -> Option<Self> {
        let mut at = 2; // after the start-of-image marker
        loop {
            let marker = *stream.get(at + 1).filter(|_| stream[at] == 0xff)?;
            let word = |i: usize| {
                Some(usize::from(*stream.get(i)?) << 8 | usize::from(*stream.get(i + 1)?))
            };
            match marker {
                0xff => at += 1,
                // A frame header, and no table (DHT, JPG, DAC) that lies between their codes.
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    return Some(Self {
                        bits: u32::from(*stream.get(at + 4)?),
                        rows: word(at + 5)?,
                        columns: word(at + 7)?,
                        components: usize::from(*stream.get(at + 9)?),
                        has_narrow_bytes: true,
                    });
                }
                _ => at += 2 + word(at + 2)?,
            }
        }
    }

    /// The SIZ segment (ITU-T T.800, A.5.1); it may lie in a JP2 box.
    fn of_jpeg_2000(stream: &[u8]) -> Option<Self> {
        let siz = stream.windows(4).position(|w| w == [0xff, 0x4f, 0xff, 0x51])?;
        let field = |at: usize, length: usize| {
            let bytes = stream.get(siz + at..siz + at + length)?;
            Some(bytes.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)))
        };
        let (width, height) = (field(8, 4)?, field(12, 4)?);
        let (left, top) = (field(16, 4)?, field(20, 4)?);
        // A sampled component is smaller than the image; it counts as another component.
        let sampled = usize::from(field(43, 1)? != 1 || field(44, 1)? != 1);
        Some(Self {
            rows: height.checked_sub(top)?,
            columns: width.checked_sub(left)?,
            components: field(40, 2)? + sampled,
            bits: (field(42, 1)? as u32 & 0x7f) + 1,
            has_narrow_bytes: false,
        })
    }

    /// Refuses a stream that does not hold what the file says.
    pub fn check(&self, rows: usize, columns: usize, bits_allocated: u32) -> Result<(), String> {
        if (self.rows, self.columns, self.components) != (rows, columns, 1) {
            return Err(format!(
                "the stream has {}x{} pixels in {} components, the file {rows}x{columns} in 1",
                self.rows, self.columns, self.components
            ));
        }
        let is_narrow = self.has_narrow_bytes && self.bits <= 8;
        if self.bits > bits_allocated || is_narrow != (self.has_narrow_bytes && bits_allocated == 8)
        {
            return Err(format!(
                "the stream has {} bits per pixel, the file {bits_allocated}",
                self.bits
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = &[
        0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc4, 0, 3, 9, 0xff, 0xff, 0xc3, 0, 11, 16, 0, 3,
        1, 4, 1, 1, 0x11, 0,
    ];

    #[test]
    fn a_jpeg_frame_header_is_found_behind_other_segments() {
        let head = StreamHead::of(uids::JPEG_LOSSLESS_SV1, JPEG).unwrap().unwrap();
        assert_eq!((head.rows, head.columns, head.components, head.bits), (3, 260, 1, 16));
        assert!(head.check(3, 260, 16).is_ok());
        assert!(head.check(3, 261, 16).is_err());
        assert!(head.check(3, 260, 8).is_err());
        assert!(StreamHead { bits: 8, ..head }.check(3, 260, 16).is_err());
        assert!(StreamHead::of(uids::JPEG_LOSSLESS, &JPEG[..18]).is_err());
    }

    #[test]
    fn a_jpeg_2000_size_is_without_its_offset() {
        let mut stream = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for value in [30_u32, 20, 6, 2, 30, 20, 0, 0] {
            stream.extend(value.to_be_bytes());
        }
        stream.extend([0, 1, 0x8b, 1, 1]);
        let head = StreamHead::of(uids::JPEG2000, &stream).unwrap().unwrap();
        assert_eq!((head.rows, head.columns, head.components, head.bits), (18, 24, 1, 12));
        assert!(head.check(18, 24, 16).is_ok());
    }
}
