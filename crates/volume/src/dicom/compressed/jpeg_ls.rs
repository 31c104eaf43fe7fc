//! JPEG-LS, lossless and near-lossless, for one component (ITU-T T.87 | ISO/IEC 14495-1).
//!
//! Written here because the usual decoder is C++. Names like `MAXVAL` are the standard's.

mod bits;
mod scan;

use scan::{Parameters, Scan};

/// The cells [rows * columns] of a frame.
///
/// # Errors
/// What is wrong with the stream, or what it uses that is not decoded (several components,
/// mapping tables, restart intervals, point transform): CT has none of it.
pub(super) fn decode(stream: &[u8], rows: usize, columns: usize) -> Result<Vec<u16>, String> {
    let mut segments = Segments { stream, at: 0 };
    if segments.marker() != Some(0xd8) {
        return Err("the stream does not begin with an image marker".into());
    }
    let mut frame: Option<Frame> = None;
    let mut preset = Preset::default();
    loop {
        let marker = segments.marker().ok_or("the stream has no scan")?;
        let segment = segments.content().ok_or("a segment is truncated")?;
        match marker {
            0xf7 => frame = Some(Frame::read(segment, rows, columns)?),
            0xf8 => preset.read(segment)?,
            0xdd if segment.iter().any(|byte| *byte != 0) => {
                return Err("restart intervals are not decoded".into());
            }
            0xda => {
                let bits = frame.ok_or("the scan comes before its frame")?.bits;
                let parameters = preset.parameters(bits, near(segment)?)?;
                return Scan::new(parameters, &stream[segments.at..]).decode(rows, columns);
            }
            _ => {} // application data and comments
        }
    }
}

/// Walks over the marker segments before the scan (T.81, B.1.1).
struct Segments<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.stream.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn marker(&mut self) -> Option<u8> {
        if self.byte()? != 0xff {
            return None;
        }
        loop {
            match self.byte()? {
                0xff => {} // fill
                code => return Some(code),
            }
        }
    }

    fn content(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?) << 8 | usize::from(self.byte()?);
        let content = self.stream.get(self.at..self.at + length.checked_sub(2)?)?;
        self.at += content.len();
        Some(content)
    }
}

/// The frame header (`SOF55`), checked against the file.
#[derive(Clone, Copy)]
struct Frame {
    bits: u32,
}

impl Frame {
    fn read(segment: &[u8], rows: usize, columns: usize) -> Result<Self, String> {
        let [bits, y1, y0, x1, x0, components, ..] = *segment else {
            return Err("the frame header is truncated".into());
        };
        let size = |high, low| usize::from(high) << 8 | usize::from(low);
        let (height, width) = (size(y1, y0), size(x1, x0));
        if (height, width, components) != (rows, columns, 1) {
            return Err(format!(
                "the stream has {height}x{width} pixels in {components} components, \
                 the file {rows}x{columns} in 1"
            ));
        }
        if !(2..=16).contains(&bits) {
            return Err(format!("the stream has {bits} bits per pixel"));
        }
        Ok(Self { bits: u32::from(bits) })
    }
}

/// The allowed error (`NEAR`) of the scan header (`SOS`).
fn near(segment: &[u8]) -> Result<i32, String> {
    let [1, _component, mapping, near, interleave, transform] = *segment else {
        return Err("the scan has several components".into());
    };
    if mapping != 0 || interleave != 0 || transform != 0 {
        return Err("mapping tables and point transforms are not decoded".into());
    }
    Ok(i32::from(near))
}

/// Coding parameters a stream gives itself (`LSE` of type 1); 0 stands for the default.
#[derive(Default)]
struct Preset {
    max_value: i32,
    thresholds: [i32; 3],
    reset: i32,
}

impl Preset {
    fn read(&mut self, segment: &[u8]) -> Result<(), String> {
        let [1, rest @ ..] = segment else {
            return Err("mapping tables are not decoded".into());
        };
        let word = |i: usize| {
            let bytes = rest.get(2 * i..2 * i + 2).ok_or("the coding parameters are truncated")?;
            Ok::<_, String>(i32::from(bytes[0]) << 8 | i32::from(bytes[1]))
        };
        self.max_value = word(0)?;
        self.thresholds = [word(1)?, word(2)?, word(3)?];
        self.reset = word(4)?;
        Ok(())
    }

    fn parameters(&self, bits: u32, near: i32) -> Result<Parameters, String> {
        let largest = (1 << bits) - 1;
        let max_value = if self.max_value == 0 { largest } else { self.max_value };
        if max_value > largest || near > max_value / 2 {
            return Err("the coding parameters contradict each other".into());
        }
        let mut thresholds = default_thresholds(max_value, near);
        for (threshold, given) in thresholds.iter_mut().zip(self.thresholds) {
            if given != 0 {
                *threshold = given;
            }
        }
        let reset = if self.reset == 0 { 64 } else { self.reset };
        Ok(Parameters { max_value, near, thresholds, reset })
    }
}

/// The default gradient thresholds (`T1`, `T2`, `T3`; C.2.4.1.1.1).
fn default_thresholds(max_value: i32, near: i32) -> [i32; 3] {
    // `CLAMP`: the lower bound also for what is too large.
    let clamp = |value: i32, low: i32| if value > max_value || value < low { low } else { value };
    let [basic1, basic2, basic3] = [3, 7, 21];
    let [t1, t2, t3] = if max_value >= 128 {
        let factor = (max_value.min(4095) + 128) / 256;
        [factor * (basic1 - 2) + 2, factor * (basic2 - 3) + 3, factor * (basic3 - 4) + 4]
    } else {
        let factor = 256 / (max_value + 1);
        [(basic1 / factor).max(2), (basic2 / factor).max(3), (basic3 / factor).max(4)]
    };
    let t1 = clamp(t1 + 3 * near, near + 1);
    let t2 = clamp(t2 + 5 * near, t1);
    [t1, t2, clamp(t3 + 7 * near, t2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 4x4 picture of 8 bits of ITU-T T.87, annex H.3, and its stream.
    const EXAMPLE: &[u8] = &[
        0xff, 0xd8, 0xff, 0xf7, 0x00, 0x0b, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00,
        0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x6c, 0x80,
        0x20, 0x8e, 0x01, 0xc0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6e, 0xe6, 0x00, 0x00, 0x01,
        0xbc, 0x18, 0x00, 0x00, 0x05, 0xd8, 0x00, 0x00, 0x91, 0x60, 0xff, 0xd9,
    ];

    #[test]
    fn the_standards_example_is_decoded() {
        let want = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
        assert_eq!(decode(EXAMPLE, 4, 4).unwrap(), want);
    }

    #[test]
    fn damaged_streams_are_refused() {
        assert!(decode(EXAMPLE, 4, 5).is_err());
        for length in 0..EXAMPLE.len() - 8 {
            assert!(decode(&EXAMPLE[..length], 4, 4).is_err(), "{length}");
        }
    }

    #[test]
    fn any_bytes_end_in_a_picture_or_an_error() {
        proptest::proptest!(|(noise in proptest::collection::vec(0_u8.., 0..400), near in 0_u8..4)| {
            let mut stream = EXAMPLE[..25].to_vec();
            stream[22] = near;
            stream.extend(noise);
            let _ = decode(&stream, 4, 4);
        });
    }

    #[test]
    fn thresholds_follow_the_depth() {
        assert_eq!(default_thresholds(255, 0), [3, 7, 21]);
        assert_eq!(default_thresholds(4095, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(65535, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(255, 2), [9, 17, 35]);
        assert_eq!(default_thresholds(15, 0), [2, 3, 4]);
    }
}
