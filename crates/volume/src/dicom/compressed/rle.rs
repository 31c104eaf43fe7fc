//! RLE lossless (PS3.5, annex G): the bytes of a pixel in segments, each packed by runs.

/// Length of the header: the number of segments and 15 offsets.
const HEADER: usize = 64;

/// The cells of a frame; a pixel's high byte has its segment before the low byte's.
pub(super) fn decode(
    stream: &[u8],
    pixels: usize,
    bytes_per_pixel: usize,
) -> Result<Vec<u16>, String> {
    let word = |i: usize| {
        let bytes = stream.get(4 * i..4 * i + 4).ok_or("the header is truncated")?;
        Ok::<_, String>(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let segments = word(0)?;
    if segments != bytes_per_pixel {
        return Err(format!("{segments} segments for {bytes_per_pixel} bytes per pixel"));
    }
    // Two packed bytes are 128 at most; asked before memory is taken.
    if pixels > stream.len() * 64 {
        return Err(format!("{} bytes cannot hold {pixels} pixels", stream.len()));
    }
    let mut cells = vec![0_u16; pixels];
    for segment in 0..segments {
        let start = word(1 + segment)?;
        let end = if segment + 1 < segments { word(2 + segment)? } else { stream.len() };
        let packed = stream
            .get(start..end)
            .filter(|_| start >= HEADER)
            .ok_or("a segment lies outside the stream")?;
        unpack(packed, &mut cells)?;
    }
    Ok(cells)
}

/// Shifts each cell up by a byte and puts the next unpacked byte below (PS3.5, G.3.2).
fn unpack(packed: &[u8], cells: &mut [u16]) -> Result<(), String> {
    let mut cells = cells.iter_mut();
    let mut put = |byte: u8| match cells.next() {
        Some(cell) => {
            *cell = *cell << 8 | u16::from(byte);
            true
        }
        None => false,
    };
    let mut at = 0;
    'runs: while let Some(head) = packed.get(at) {
        at += 1;
        let literal = usize::from(*head) + 1;
        match head {
            0..=127 => {
                for byte in packed.iter().skip(at).take(literal) {
                    if !put(*byte) {
                        break 'runs;
                    }
                }
                at += literal;
            }
            128 => {}
            129..=255 => {
                let Some(byte) = packed.get(at) else { break };
                for _ in 0..257 - usize::from(*head) {
                    if !put(*byte) {
                        break 'runs;
                    }
                }
                at += 1;
            }
        }
    }
    match cells.len() {
        0 => Ok(()),
        missing => Err(format!("a segment ends {missing} pixels early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's pack-bits scheme: runs and literals.
    #[test]
    fn runs_and_literals_are_unpacked() {
        let packed = [0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0x80, 0xfd, 0xbb];
        let mut cells = [0; 10];
        unpack(&packed, &mut cells).unwrap();
        assert_eq!(cells, [0xaa, 0xaa, 0xaa, 0x80, 0, 0x2a, 0xbb, 0xbb, 0xbb, 0xbb]);
        assert!(unpack(&packed[..8], &mut cells).is_err());
    }

    #[test]
    fn the_high_byte_comes_first() {
        let mut stream = vec![0; HEADER];
        (stream[0], stream[4], stream[8]) = (2, 64, 66);
        stream.extend([0xff, 0x12, 1, 0x34, 0x56]);
        assert_eq!(decode(&stream, 2, 2).unwrap(), [0x1234, 0x1256]);
        assert!(decode(&stream, 3, 2).is_err());
        assert!(decode(&stream, 2, 1).is_err());
        assert!(decode(&stream[..60], 2, 2).is_err());
        assert!(decode(&stream, 1 << 45, 2).is_err()); // more than any machine's memory
    }
}
