//! From stored pixel cells to Hounsfield units.

use crate::volume::PADDING_HU;

/// How a stored pixel's bits are laid out (PS3.5, section 8.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PixelLayout {
    pub bits_allocated: u32,
    pub bits_stored: u32,
    pub high_bit: u32,
    pub signed: bool,
}

impl PixelLayout {
    /// The stored value within its allocated bits.
    pub fn value(self, cell: u16) -> i32 {
        let above = 31 - self.high_bit;
        let aligned = u32::from(cell) << above;
        let drop = 32 - self.bits_stored;
        if self.signed { (aligned as i32) >> drop } else { (aligned >> drop) as i32 }
    }

    /// The smallest and the largest value that can be stored.
    fn range(self) -> (i32, i32) {
        let values = 1_i32 << self.bits_stored;
        if self.signed { (-values / 2, values / 2 - 1) } else { (0, values - 1) }
    }

    /// A padding value as a stored value. Files of signed pixels may give it as US and files of
    /// unsigned ones as SS; `None` if no pixel can have it.
    fn padding_value(self, given: i32) -> Option<i32> {
        let (low, high) = self.range();
        let fits = |value: i32| (low..=high).contains(&value).then_some(value);
        if !self.signed {
            return fits(given).or_else(|| fits(i32::from(given as u16)));
        }
        let as_signed = i32::from(given as u16 as i16);
        fits(as_signed).or_else(|| {
            // Given in the stored bits alone, without the sign above them.
            let top = 1_i32 << self.bits_stored;
            if (0..top).contains(&given) { fits(given - top) } else { None }
        })
    }

    /// The range of padded values, from `PixelPaddingValue` and `PixelPaddingRangeLimit` (PS3.3,
    /// C.7.5.1.1.2).
    pub fn padding(self, value: i32, limit: Option<i32>) -> Option<(i32, i32)> {
        let value = self.padding_value(value)?;
        let limit = limit.and_then(|limit| self.padding_value(limit)).unwrap_or(value);
        Some((value.min(limit), value.max(limit)))
    }
}

/// What turns a stored value into Hounsfield units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HounsfieldScale {
    pub layout: PixelLayout,
    pub slope: f64,
    pub intercept: f64,
    /// Stored values from the first to the second are no measurement.
    pub padding: Option<(i32, i32)>,
}

impl HounsfieldScale {
    /// Stored value x slope + intercept, rounded to the nearest whole number and held within an
    /// i16 (a metal implant may lie above, and is dense enough at 32767); padded pixels, known by
    /// their stored value, become [`PADDING_HU`].
    pub fn apply(&self, cells: impl Iterator<Item = u16>, out: &mut [i16]) {
        let layout = self.layout;
        let (low, high) = self.padding.unwrap_or((i32::MAX, i32::MIN));
        let is_padding = |value: i32| value >= low && value <= high;
        // Nearly every CT has slope 1 and a whole intercept; whole numbers are much faster.
        let is_whole = |v: f64| v.fract().abs() < f64::EPSILON && v.abs() < 1e6;
        if (self.slope - 1.0).abs() < f64::EPSILON && is_whole(self.intercept) {
            let intercept = self.intercept as i32;
            for (hu, cell) in out.iter_mut().zip(cells) {
                let value = layout.value(cell);
                let scaled = (value + intercept).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
                *hu = if is_padding(value) { PADDING_HU } else { scaled as i16 };
            }
        } else {
            for (hu, cell) in out.iter_mut().zip(cells) {
                let value = layout.value(cell);
                let scaled = f64::from(value) * self.slope + self.intercept;
                *hu = if is_padding(value) { PADDING_HU } else { scaled.round() as i16 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWELVE: PixelLayout =
        PixelLayout { bits_allocated: 16, bits_stored: 12, high_bit: 11, signed: true };

    #[test]
    fn stored_bits_are_taken_out_of_the_allocated_ones() {
        assert_eq!(TWELVE.value(0x0fff), -1);
        assert_eq!(TWELVE.value(0xf800), -2048); // the four bits above are not the pixel's
        let shifted = PixelLayout { high_bit: 15, signed: false, ..TWELVE };
        assert_eq!(shifted.value(0xfff7), 0x0fff);
        let sixteen = PixelLayout { bits_stored: 16, high_bit: 15, ..TWELVE };
        assert_eq!(sixteen.value(0x8000), -32768);
    }

    #[test]
    fn padding_is_a_stored_value_however_it_is_written() {
        assert_eq!(TWELVE.padding(-2000, None), Some((-2000, -2000)));
        assert_eq!(TWELVE.padding(63536, None), Some((-2000, -2000))); // the same as US
        assert_eq!(TWELVE.padding(0x830, None), Some((-2000, -2000))); // the same in 12 bits
        assert_eq!(TWELVE.padding(-2000, Some(-1990)), Some((-2000, -1990)));
        assert_eq!(TWELVE.padding(-1990, Some(-2000)), Some((-2000, -1990)));
        let unsigned = PixelLayout { signed: false, ..TWELVE };
        assert_eq!(unsigned.padding(-2000, None), None);
        assert_eq!(unsigned.padding(4096, None), None);
        assert_eq!(unsigned.padding(0, None), Some((0, 0)));
        let sixteen = PixelLayout { bits_stored: 16, high_bit: 15, ..unsigned };
        assert_eq!(sixteen.padding(-2000, None), Some((63536, 63536))); // the same as SS
        assert_eq!(sixteen.padding(-2000, Some(-1990)), Some((63536, 63546)));
    }

    #[test]
    fn padding_is_compared_before_the_scale() {
        let scale = HounsfieldScale {
            layout: TWELVE,
            slope: 1.0,
            intercept: 24.0,
            padding: Some((-7, -6)),
        };
        let cells = [-8_i16, -7, -6, -5, -30].map(|v| v as u16 & 0x0fff);
        let mut out = [0; 5];
        scale.apply(cells.into_iter(), &mut out);
        assert_eq!(out, [16, PADDING_HU, PADDING_HU, 19, -6]);
        HounsfieldScale { slope: 0.5, ..scale }.apply(cells.into_iter(), &mut out);
        assert_eq!(out, [20, PADDING_HU, PADDING_HU, 22, 9]);
    }
}
