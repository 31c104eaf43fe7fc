//! The bits of a JPEG-LS scan.

/// Reads bits from the first to the last; after a byte of ones the next has seven bits (A.1).
pub(super) struct Bits<'a> {
    scan: &'a [u8],
    at: usize,
    /// Bits read ahead, the next one highest.
    ahead: u64,
    count: u32,
    is_after_ones: bool,
}

impl<'a> Bits<'a> {
    pub fn new(scan: &'a [u8]) -> Self {
        Self { scan, at: 0, ahead: 0, count: 0, is_after_ones: false }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.scan.get(self.at) else { return };
            let width = if self.is_after_ones { 7 } else { 8 };
            if self.is_after_ones && byte & 0x80 != 0 {
                return; // a marker: the scan ends before it
            }
            self.is_after_ones = *byte == 0xff;
            self.ahead |= u64::from(*byte) << (64 - width - self.count);
            self.count += width;
            self.at += 1;
        }
    }

    /// The next `width` bits, at most 32, as a number.
    pub fn read(&mut self, width: u32) -> Result<i32, String> {
        if width == 0 {
            return Ok(0);
        }
        if self.count < width {
            self.fill();
        }
        if self.count < width {
            return Err("the stream ends early".into());
        }
        let value = self.ahead >> (64 - width);
        self.ahead <<= width;
        self.count -= width;
        Ok(value as i32)
    }

    /// The number of zeros before the next one, which is read too; at most `most`.
    pub fn zeros(&mut self, most: u32) -> Result<u32, String> {
        let mut zeros = 0;
        loop {
            if self.count < 32 {
                self.fill();
            }
            if self.count == 0 {
                return Err("the stream ends early".into());
            }
            let here = self.ahead.leading_zeros().min(self.count);
            zeros += here;
            if zeros > most {
                return Err("the stream is damaged".into());
            }
            let has_one = here < self.count;
            let used = here + u32::from(has_one);
            self.ahead = self.ahead.checked_shl(used).unwrap_or(0);
            self.count -= used;
            if has_one {
                return Ok(zeros);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_after_ones_has_seven_bits() {
        let mut bits = Bits::new(&[0xff, 0x7f, 0x01]);
        assert_eq!(bits.read(15).unwrap(), 0x7fff);
        assert_eq!(bits.zeros(9).unwrap(), 7);
        assert!(bits.read(1).is_err());
        assert!(Bits::new(&[0xff, 0xd9]).read(9).is_err());
    }
}
